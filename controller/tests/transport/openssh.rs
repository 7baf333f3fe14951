//! Against OpenSSH's sshd, one per test.

use crate::support::{Collect, Sshd, User, keygen, run, run_within, skip, with_password};
use bytes::Bytes;
use holdfast::transport::{Become, Handler, HostKeyPolicy, Payload, Reaction, Stream, TransportError, connect};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

struct Forget;

impl Handler for Forget {
    fn chunk(&mut self, _: Stream, _: &[u8]) -> Reaction {
        Reaction::Continue
    }
}

macro_rules! sshd {
    ($($line:expr),*) => {
        match Sshd::start(&[$($line),*]) {
            Some(sshd) => sshd,
            None => return,
        }
    };
}

#[tokio::test]
async fn sshd_runs_a_program_and_keeps_its_outputs_apart() {
    let sshd = sshd!();
    let mut session = connect(&sshd.target(), &sshd.context()).await.expect("a session");
    let mut seen = Collect::default();
    let end = run(&mut session, "echo out; echo err >&2; exit 9", &mut seen)
        .await
        .expect("an end");
    assert_eq!(
        (seen.out().as_str(), seen.err().as_str(), end.exit),
        ("out\n", "err\n", Some(9))
    );
    let end = run(&mut session, "kill -TERM $$", &mut seen).await.expect("an end");
    assert_eq!(end.signal.as_deref(), Some("TERM"));
    session.close().await;
}

#[tokio::test]
async fn a_payload_and_much_output_pass_through_sshd() {
    let sshd = sshd!();
    let mut session = connect(&sshd.target(), &sshd.context()).await.expect("a session");
    let blob: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 3) as u8).collect();
    let mut seen = Collect {
        payload: Some(Payload(vec![Bytes::from(blob.clone())])),
        ..Collect::default()
    };
    run(&mut session, "echo READY\ncat", &mut seen).await.expect("an end");
    assert!(seen.stdout[b"READY\n".len()..] == blob);
    let mut seen = Collect::default();
    run(&mut session, "head -c 20000000 /dev/zero", &mut seen)
        .await
        .expect("an end");
    assert_eq!(seen.stdout.len(), 20_000_000);
}

#[tokio::test]
async fn max_sessions_one_serves_many_execs() {
    let sshd = sshd!("MaxSessions 1");
    let mut session = connect(&sshd.target(), &sshd.context()).await.expect("a session");
    for n in 0..30 {
        let mut seen = Collect::default();
        run(&mut session, &format!("echo {n}"), &mut seen)
            .await
            .expect("an end");
        assert_eq!(seen.out(), format!("{n}\n"));
    }
    let mut seen = Collect {
        stop_after_bytes: Some(1000),
        ..Collect::default()
    };
    run(&mut session, "while :; do echo on; done", &mut seen)
        .await
        .expect("an end");
    let error = run_within(
        &mut session,
        "sleep 1",
        &mut Collect::default(),
        Duration::from_millis(100),
    )
    .await;
    let error = error.expect_err("late");
    assert_eq!(error.kind(), "deadline", "{}", sshd.log());
    let mut seen = Collect::default();
    run(&mut session, "echo after", &mut seen).await.expect("an end");
    assert_eq!(seen.out(), "after\n");
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_names_what_was_tried() {
    let sshd = sshd!();
    keygen(&sshd.path("other"), &["-t", "ed25519"]);
    let mut target = sshd.target();
    target.identities = vec![sshd.path("other")];
    let error = connect(&target, &sshd.context()).await.err().expect("a refusal");
    let TransportError::AuthRefused { tried, accepted, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(tried, &[format!("key {}", sshd.path("other").display())]);
    assert_eq!(accepted, &["publickey"]);
}

#[tokio::test]
async fn every_format_of_key_that_ssh_keygen_writes_logs_in() {
    let sshd = sshd!();
    for (name, arguments) in [
        ("rsa", ["-t", "rsa", "-b", "2048"].as_slice()),
        ("ecdsa", &["-t", "ecdsa"]),
        ("rsa_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa_pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
    ] {
        keygen(&sshd.path(name), arguments);
        let public = std::fs::read_to_string(sshd.path(&format!("{name}.pub"))).expect("a public key");
        std::fs::write(sshd.path("authorized_keys"), public).expect("a file");
        let mut target = sshd.target();
        target.identities = vec![sshd.path(name)];
        if let Err(error) = connect(&target, &sshd.context()).await {
            panic!("{name}: {error}\n{}", sshd.log());
        }
    }
}

#[tokio::test]
async fn a_protected_key_is_named_and_works_through_the_agent() {
    let sshd = sshd!();
    let protected = sshd.path("client");
    let locked = Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "secret", "-f"])
        .arg(&protected)
        .status()
        .expect("ssh-keygen");
    assert!(locked.success());
    let error = connect(&sshd.target(), &sshd.context()).await.err().expect("a refusal");
    assert_eq!(error.kind(), "identity-encrypted");
    assert!(error.hint().contains("ssh-add"));

    let socket = sshd.path("agent.sock");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("ssh-agent");
    for _ in 0..100 {
        if socket.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let askpass = sshd.path("askpass");
    std::fs::write(&askpass, "#!/bin/sh\necho secret\n").expect("a file");
    std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let added = Command::new("ssh-add")
        .arg(&protected)
        .env("SSH_AUTH_SOCK", &socket)
        .env("SSH_ASKPASS", &askpass)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .stderr(std::process::Stdio::null())
        .status()
        .expect("ssh-add");
    assert!(added.success());
    let mut context = sshd.context();
    context.agent_socket = Some(socket);
    let named = connect(&sshd.target(), &context).await.map(drop);
    let mut target = sshd.target();
    target.identities = Vec::new();
    let any = connect(&target, &context).await.map(drop);
    agent.kill().expect("ours");
    agent.wait().expect("ours");
    named.expect("the agent signs for the protected key");
    any.expect("the agent's keys are tried without any identity");
}

#[tokio::test]
async fn the_known_type_of_host_key_is_asked_for_and_a_changed_one_is_refused() {
    let sshd = sshd!();
    let rsa = std::fs::read_to_string(sshd.path("host_rsa.pub")).expect("a public key");
    let port = sshd.address.port();
    std::fs::write(sshd.path("known_hosts"), format!("[127.0.0.1]:{port} {rsa}")).expect("a file");
    let hashed = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(sshd.path("known_hosts"))
        .status()
        .expect("ssh-keygen");
    assert!(hashed.success());
    let mut target = sshd.target();
    target.host_keys = HostKeyPolicy::Strict;
    connect(&target, &sshd.context())
        .await
        .expect("the RSA key is known, hashed");

    keygen(&sshd.path("another"), &["-t", "rsa", "-b", "2048"]);
    let another = std::fs::read_to_string(sshd.path("another.pub")).expect("a public key");
    std::fs::write(sshd.path("known_hosts"), format!("[127.0.0.1]:{port} {another}")).expect("a file");
    target.host_keys = HostKeyPolicy::AcceptNew;
    let error = connect(&target, &sshd.context()).await.err().expect("a refusal");
    assert_eq!(error.kind(), "host-key-changed");
}

#[tokio::test]
async fn no_common_algorithm_is_named() {
    let sshd = sshd!("KexAlgorithms diffie-hellman-group1-sha1");
    let error = connect(&sshd.target(), &sshd.context()).await.err().expect("a refusal");
    assert_eq!(error.kind(), "negotiation");
    assert!(error.to_string().contains("diffie-hellman-group1-sha1"), "{error}");
}

#[tokio::test]
async fn each_modern_algorithm_alone_connects() {
    for line in [
        "KexAlgorithms curve25519-sha256",
        "KexAlgorithms ecdh-sha2-nistp256",
        "KexAlgorithms diffie-hellman-group14-sha256",
        "KexAlgorithms diffie-hellman-group-exchange-sha256",
        "Ciphers aes128-ctr",
        "Ciphers aes256-gcm@openssh.com",
        "HostKeyAlgorithms rsa-sha2-256",
    ] {
        let sshd = sshd!(line);
        if let Err(error) = connect(&sshd.target(), &sshd.context()).await {
            panic!("{line}: {error}\n{}", sshd.log());
        }
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_is_lost_and_not_failed() {
    let sshd = sshd!();
    let mut session = connect(&sshd.target(), &sshd.context()).await.expect("a session");
    // The parent of the shell is the sshd process of this connection.
    let error = run(
        &mut session,
        "echo begun; kill -9 $PPID; sleep 30",
        &mut Collect::default(),
    )
    .await
    .expect_err("the connection is gone");
    assert_eq!(error.kind(), "connection-lost", "{error}");
    assert!(!error.unreachable());
    let error = run(&mut session, "echo x", &mut Collect::default())
        .await
        .expect_err("still gone");
    assert_eq!(error.kind(), "connection-lost");
}

#[tokio::test]
async fn a_server_that_answers_with_silence_or_without_end_is_left_at_the_deadline() {
    for forced in ["ForceCommand sleep 60", "ForceCommand yes"] {
        let sshd = sshd!(forced);
        let mut session = connect(&sshd.target(), &sshd.context()).await.expect("a session");
        let started = std::time::Instant::now();
        let error = run_within(&mut session, "exit 0", &mut Forget, Duration::from_millis(700)).await;
        assert_eq!(error.expect_err("late").kind(), "deadline");
        session.close().await;
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_stream_to_a_missing_program_tells_its_exit_and_its_words() {
    let sshd = sshd!();
    let mut session = connect(&sshd.target(), &sshd.context()).await.expect("a session");
    let stream = session
        .open_stream("/nowhere/holdfast-agent stdio")
        .await
        .expect("a stream");
    let (end, stderr) = stream.end.await.expect("a report").expect("an end");
    assert_eq!(end.exit, Some(127));
    assert!(String::from_utf8_lossy(&stderr).contains("/nowhere/holdfast-agent"));
}

#[tokio::test]
async fn a_forced_command_that_refuses_is_no_success() {
    let sshd = sshd!("ForceCommand /bin/false");
    let mut session = connect(&sshd.target(), &sshd.context()).await.expect("a session");
    let end = run(&mut session, "echo x", &mut Collect::default())
        .await
        .expect("an end");
    assert_eq!(end.exit, Some(1));
}

async fn password_login(line: &str, name: &str) {
    let Some(user) = User::create(name) else { return };
    let sshd = sshd!(line, "UsePAM yes", "AuthenticationMethods any");
    let mut target = sshd.target();
    target.user = user.0.clone();
    target.identities = Vec::new();
    target.password_env = Some("TEST_PASSWORD".to_owned());
    match connect(&target, &with_password(sshd.context(), "right horse")).await {
        Ok(mut session) => {
            let mut seen = Collect::default();
            run(&mut session, "id -un", &mut seen).await.expect("an end");
            assert_eq!(seen.out().trim(), user.0);
        }
        Err(error) => panic!("{error}\n{}", sshd.log()),
    }
    let error = connect(&target, &with_password(sshd.context(), "wrong horse"))
        .await
        .err()
        .expect("a refusal");
    assert_eq!(error.kind(), "auth-refused", "{error}");
    assert!(!error.to_string().contains("horse"));
}

#[tokio::test]
async fn a_password_logs_in() {
    password_login("PasswordAuthentication yes", "hf-test-pw").await;
}

#[tokio::test]
async fn keyboard_interactive_is_answered_with_the_password() {
    password_login("KbdInteractiveAuthentication yes", "hf-test-kbd").await;
}

#[tokio::test]
async fn sudo_that_asks_for_a_password_is_a_refusal_and_sudo_that_does_not_works() {
    let Some(user) = User::create("hf-test-sudo") else {
        return;
    };
    if !std::path::Path::new("/usr/bin/sudo").exists() {
        skip("sudo is not installed");
        return;
    }
    let sshd = sshd!("PermitUserEnvironment no");
    for path in ["", "authorized_keys"] {
        let mode = if path.is_empty() { 0o755 } else { 0o644 };
        std::fs::set_permissions(sshd.path(path), std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let mut target = sshd.target();
    target.user = user.0.clone();
    target.r#become = Become::Sudo;
    let mut session = connect(&target, &sshd.context()).await.expect("a session");
    let error = run(&mut session, "id -u", &mut Collect::default())
        .await
        .expect_err("a refusal");
    assert_eq!(error.kind(), "sudo-refused", "{error}");
    assert!(error.to_string().contains("password is required"), "{error}");

    let rule = std::path::Path::new("/etc/sudoers.d/hf-test-sudo");
    std::fs::write(rule, "hf-test-sudo ALL=(ALL) NOPASSWD: ALL\n").expect("a rule");
    let mut seen = Collect::default();
    let end = run(&mut session, "id -u", &mut seen).await;
    std::fs::remove_file(rule).expect("ours");
    end.expect("an end");
    assert_eq!(seen.out(), "0\n");
}
