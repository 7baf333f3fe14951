//! Hosts in trouble: full disks, read-only mounts, missing tools. These need root, for their mounts.

#[expect(dead_code, reason = "the other tests use the rest of the test host")]
mod host;

use holdfast_agent::reply::{JobEnd, JobState, Refusal, StepStatus};
use host::{Host, Job};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own, mounted until it is dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts a tmpfs; `None`, and says so, where that is not allowed.
    fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("the folder is ours");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(at)
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            host::skip::skip("mounting a tmpfs needs root");
        }
        mounted.then(|| Self(at.to_owned()))
    }

    fn read_only(&self) {
        let done = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_refused_as_itself() {
    let host = Host::new("dash");
    let Some(_mount) = Mount::tmpfs(&host.state(), "size=128k,mode=700") else {
        return;
    };
    let reply = host.start("a1", &Job::of(&[":"]));
    assert_eq!(reply.refused().map(|it| it.0), Some(Refusal::DiskFull), "{reply:?}");
    assert!(reply.done && !host.state().join("jobs/a1").exists());
}

#[test]
fn a_disk_without_inodes_is_refused_as_full() {
    for inodes in 3..12 {
        let host = Host::new("dash");
        let Some(_mount) = Mount::tmpfs(&host.state(), &format!("size=4m,mode=700,nr_inodes={inodes}")) else {
            return;
        };
        let reply = host.start("a1", &Job::of(&[":"]));
        assert!(reply.done, "{inodes}: {reply:?}");
        // With one or two more inodes the job is begun and stops before it changes anything.
        match (reply.refused(), reply.end()) {
            (Some((Refusal::DiskFull, _)), _) | (None, Some((JobEnd::Stopped, _))) => {}
            (None, None) => assert_eq!(reply.job(), Some(JobState::Unstarted), "{inodes}: {reply:?}"),
            other => assert!(
                inodes > 9,
                "{inodes}: {other:?} is neither refused nor stopped: {reply:?}"
            ),
        }
    }
}

#[test]
fn a_read_only_mount_is_refused_as_itself() {
    let host = Host::new("dash");
    let Some(mount) = Mount::tmpfs(&host.state(), "size=4m,mode=700") else {
        return;
    };
    mount.read_only();
    let reply = host.start("a1", &Job::of(&[":"]));
    assert_eq!(reply.refused().map(|it| it.0), Some(Refusal::ReadOnly), "{reply:?}");
}

#[test]
fn a_job_that_fills_the_disk_still_tells_its_end() {
    let host = Host::new("dash");
    let Some(_mount) = Mount::tmpfs(&host.state(), "size=2m,mode=700") else {
        return;
    };
    let second = host.path("second");
    let mut job = Job::of(&[
        "dd if=/dev/zero of=\"$hf_state/fill\" bs=512 2>/dev/null; :",
        &format!(": >{}", second.display()),
    ]);
    // More words than fit into the blocks that the journal has by then.
    job.body = job.body.replace(
        "hf_probe_2() {\n",
        "hf_probe_2() {\nfor n in 1 2 3 4 5 6 7 8 9; do hf_attr x \"$(yes | dd bs=2000 count=1 2>/dev/null)\"; done\n",
    );
    let reply = host.start("a1", &job);
    assert_eq!(reply.steps()[0].0, StepStatus::Changed, "{reply:?}");
    assert_eq!(reply.end().map(|it| it.0), Some(JobEnd::Stopped), "{reply:?}");
    assert!(reply.done && !second.exists());
}

#[test]
fn what_can_not_be_captured_is_not_changed() {
    let host = Host::new("dash");
    let Some(_mount) = Mount::tmpfs(&host.state(), "size=2m,mode=700") else {
        return;
    };
    let file = host.path("file");
    std::fs::write(&file, vec![7; 8 * 1024 * 1024]).expect("the folder is ours");
    let mut job = Job::of(&[&format!("echo new >{}", file.display())]);
    job.body = job.body.replace("hf_always=1", "hf_always=1 hf_life=begins").replace(
        "hf_steps=1",
        &format!(
            "hf_capture_1() {{\ncp {} \"$hf_before/content\"\n}}\nhf_steps=1",
            file.display()
        ),
    );
    let reply = host.start("a1", &job);
    let (status, why) = reply.steps()[0];
    assert_eq!(status, StepStatus::NotCaptured, "{reply:?}");
    assert!(why.contains("No space left"), "{why}");
    assert_eq!(std::fs::metadata(&file).expect("it is there").len(), 8 * 1024 * 1024);
    assert!(!host.state().join("before/k").exists());
}

#[test]
fn a_state_folder_of_another_user_is_refused() {
    let host = Host::new("dash");
    let state = host.state();
    std::fs::create_dir(&state).expect("the folder is ours");
    let given = std::os::unix::fs::chown(&state, Some(12345), None);
    if given.is_err() {
        return;
    }
    let reply = host.start("a1", &Job::of(&[":"]));
    assert_eq!(reply.refused().map(|it| it.0), Some(Refusal::NoStateDir), "{reply:?}");
}

#[test]
fn a_host_without_proc_and_setsid_runs_jobs_and_stops_steps() {
    let probe = Host::new("dash");
    if Mount::tmpfs(&probe.path("try"), "size=64k").is_none() {
        return;
    }
    for shell in ["dash", "busybox sh", "mksh"] {
        let host = Host::bare(shell);
        let reply = host.start("a1", &Job::of(&["echo out", "sleep 1"]));
        assert_eq!(reply.end(), Some((JobEnd::Completed, "-")), "{shell}: {reply:?}");
        let mut job = Job::of(&["exec sleep 300"]);
        job.body = job.body.replace("hf_timeout=60", "hf_timeout=1");
        job.acks.push("a1");
        let reply = host.start("a2", &job);
        assert_eq!(reply.steps(), [(StepStatus::TimedOut, "")], "{shell}: {reply:?}");
    }
}
