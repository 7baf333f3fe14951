//! Where a host keeps its state: never where others could swap it.

#[expect(dead_code, reason = "the other tests use the rest of the test host")]
mod host;

use holdfast_agent::reply::{JobEnd, Refusal};
use host::{Host, Job, under_every_shell};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

fn allow(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the folder is ours");
}

/// Starts a job, and gives why it was refused.
fn refused(host: &Host, attempt: &str) -> Option<(Refusal, String)> {
    let reply = host.start(attempt, &Job::of(&["touch \"$hf_state/ran\""]));
    assert!(reply.done, "{reply:?}");
    reply.refused().map(|(kind, detail)| (kind, detail.to_owned()))
}

// REVIEW H23
#[test]
fn a_state_folder_below_one_that_everybody_can_write_is_refused_unless_it_is_sticky() {
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let above = host.path("").canonicalize().expect("it is there");
        allow(&above, 0o777);
        let (kind, detail) = refused(&host, "a1").unwrap_or_else(|| panic!("{shell}: it was taken"));
        assert_eq!(kind, Refusal::NoStateDir, "{shell}");
        assert!(
            detail.starts_with(&format!("{} can be written by everybody", above.display())),
            "{shell}: {detail}"
        );
        assert!(!host.state().join("ran").exists(), "{shell}: nothing was done");
        // As /tmp itself is: nobody can rename what belongs to another.
        allow(&above, 0o1777);
        assert_eq!(refused(&host, "a2"), None, "{shell}");
        assert!(host.state().join("ran").exists(), "{shell}");
    });
}

// REVIEW H23
#[test]
fn a_state_folder_below_one_of_another_user_or_group_is_refused() {
    if !rustix::process::geteuid().is_root() {
        host::skip::skip("only root can give folders away");
        return;
    }
    under_every_shell(|shell| {
        let host = Host::new(shell);
        let above = host.path("").canonicalize().expect("it is there");
        // The newcomer's folder, made by somebody else before.
        chown(&above, Some(65_534), None).expect("root may");
        let (kind, detail) = refused(&host, "a1").unwrap_or_else(|| panic!("{shell}: it was taken"));
        assert_eq!(kind, Refusal::NoStateDir, "{shell}");
        assert!(detail.contains("belongs to user 65534"), "{shell}: {detail}");
        chown(&above, Some(0), Some(65_534)).expect("root may");
        allow(&above, 0o775);
        let (_, detail) = refused(&host, "a2").unwrap_or_else(|| panic!("{shell}: it was taken"));
        assert!(detail.contains("can be written by group 65534"), "{shell}: {detail}");
        // A group that may only look does no harm.
        allow(&above, 0o755);
        let reply = host.start("a3", &Job::of(&["true"]));
        assert_eq!(reply.end(), Some((JobEnd::Completed, "-")), "{shell}: {reply:?}");
    });
}
