//! Against dropbear.

use crate::support::{Collect, User, can_log_in, context, free_address, keygen, run, skip, target, wait_for};
use bytes::Bytes;
use holdfast::transport::{Payload, connect};
use std::path::Path;
use std::process::{Command, Stdio};

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn dropbear_runs_programs_and_takes_a_payload() {
    if !Path::new("/usr/sbin/dropbear").exists() || !Path::new("/usr/bin/dropbearkey").exists() {
        skip("dropbear is not installed");
        return;
    }
    if !can_log_in() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    keygen(&path("client"), &["-t", "ed25519"]);
    let made = Command::new("dropbearkey")
        .args(["-t", "ed25519", "-f"])
        .arg(path("host_key"))
        .output()
        .expect("dropbearkey");
    assert!(made.status.success());
    // It reads ~/.ssh/authorized_keys of the user and nothing else, so it needs a user of its own.
    let Some(user) = User::create("hf-test-dropbear") else {
        return;
    };
    let home = std::path::PathBuf::from(format!("/home/{}/.ssh", user.0));
    std::fs::create_dir(&home).expect("a folder");
    std::fs::copy(path("client.pub"), home.join("authorized_keys")).expect("a copy");
    let owned = Command::new("chown")
        .args(["-R", &user.0])
        .arg(&home)
        .status()
        .expect("chown");
    assert!(owned.success());
    let address = free_address();
    let child = Command::new("dropbear")
        .args(["-F", "-E", "-s", "-p"])
        .arg(address.to_string())
        .arg("-r")
        .arg(path("host_key"))
        .arg("-P")
        .arg(path("pid"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("dropbear starts");
    let _killed = Killed(child);
    wait_for(address);
    let target = target(address, &user.0, Some(&path("client")));
    let mut session = connect(&target, &context(folder.path())).await.expect("a session");
    for n in 0..10 {
        let mut seen = Collect::default();
        let end = run(&mut session, &format!("echo {n}; echo e >&2; exit {n}"), &mut seen)
            .await
            .expect("an end");
        assert_eq!(
            (seen.out(), seen.err(), end.exit),
            (format!("{n}\n"), "e\n".to_owned(), Some(n))
        );
    }
    let blob: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 5) as u8).collect();
    let mut seen = Collect {
        payload: Some(Payload(vec![Bytes::from(blob.clone())])),
        ..Collect::default()
    };
    run(&mut session, "echo READY\ncat", &mut seen).await.expect("an end");
    assert!(seen.stdout[b"READY\n".len()..] == blob);
}
