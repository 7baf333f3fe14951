//! A host for tests: a folder as its state, a shell that runs programs, and a reply that is decoded.

#[path = "../../../tests/src/skip.rs"]
pub(crate) mod skip;

use holdfast_agent::program::{self, Nonce, ObserveRequest, Part, StartRequest};
use holdfast_agent::reply::{Decoder, JobEnd, JobState, Record, Refusal, StepStatus};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Every shell that the runner is tried on, as it is called.
pub(crate) const SHELLS: [&str; 8] = [
    "dash",
    "bash --posix",
    "busybox sh",
    "mksh",
    "posh",
    "yash",
    "ksh93",
    "zsh --emulate sh",
];

/// Gives the shells that are on this machine; says which others there are none of.
fn shells() -> Vec<&'static str> {
    SHELLS
        .into_iter()
        .filter(|shell| {
            let name = shell.split(' ').next().expect("a split has a first part");
            let found = std::env::var_os("PATH")
                .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).exists()));
            if !found {
                skip::skip(&format!("{name} is not on this machine"));
            }
            found
        })
        .collect()
}

/// Runs a test under every shell at once: most of its time it waits.
pub(crate) fn under_every_shell(test: impl Fn(&'static str) + Sync) {
    std::thread::scope(|scope| {
        for shell in shells() {
            let test = &test;
            scope.spawn(move || test(shell));
        }
    });
}

/// The controller that starts and observes.
pub(crate) const CONTROLLER: &str = "c1";

/// The machine id that hosts of these tests get.
pub(crate) const MACHINE_NEW: &str = "6b6f7a3c-0000-4000-8000-000000000001";

static NONCES: AtomicU8 = AtomicU8::new(1);

/// Gives a nonce that this process did not use before.
pub(crate) fn nonce() -> Nonce {
    Nonce::new([NONCES.fetch_add(1, Ordering::Relaxed); 16])
}

/// A host with its own folder.
pub(crate) struct Host {
    folder: tempfile::TempDir,
    shell: &'static str,
    /// The shell of the wrapper and its steps.
    job_shell: Option<String>,
    bare: bool,
    state_name: &'static str,
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) records: Vec<Record>,
    pub(crate) done: bool,
}

impl Reply {
    pub(crate) fn end(&self) -> Option<(JobEnd, &str)> {
        self.records.iter().find_map(|record| match record {
            Record::End { end, detail, .. } => Some((*end, detail.as_str())),
            _ => None,
        })
    }

    pub(crate) fn refused(&self) -> Option<(Refusal, &str)> {
        self.records.iter().find_map(|record| match record {
            Record::Refused { kind, detail } => Some((*kind, detail.as_str())),
            _ => None,
        })
    }

    pub(crate) fn job(&self) -> Option<JobState> {
        self.records.iter().find_map(|record| match record {
            Record::Job { state, .. } => Some(*state),
            _ => None,
        })
    }

    /// Status and detail of each step that ended.
    pub(crate) fn steps(&self) -> Vec<(StepStatus, &str)> {
        self.records
            .iter()
            .filter_map(|record| match record {
                Record::Step { status, detail, .. } => Some((*status, detail.as_str())),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn output(&self, step: u32) -> Option<&[u8]> {
        self.records.iter().find_map(|record| match record {
            Record::Output { index, bytes, .. } if *index == step => Some(bytes.as_slice()),
            _ => None,
        })
    }

    pub(crate) fn fact(&self, name: &str) -> Option<&str> {
        self.records.iter().find_map(|record| match record {
            Record::Fact { key, value } if key == name => Some(value.as_str()),
            _ => None,
        })
    }
}

/// A job for tests: its blobs and its body.
#[derive(Default)]
pub(crate) struct Job {
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) body: String,
    pub(crate) epoch: u64,
    pub(crate) acks: Vec<&'static str>,
    pub(crate) voids: Vec<&'static str>,
    /// The controller has not seen a machine id yet, whatever the host has.
    pub(crate) first_contact: bool,
}

impl Job {
    /// A job of these `apply` bodies, whose probes report one attribute each, and whose prologue reports none.
    pub(crate) fn of(applies: &[&str]) -> Self {
        let mut body = String::from("hf_prologue() {\n:\n}\nhf_fingerprint=''\n");
        for (at, apply) in applies.iter().enumerate() {
            let number = at + 1;
            body.push_str(&format!(
                "hf_meta_{number}() {{\nhf_address='script.s{number}' hf_timeout=60 hf_always=1\n}}\n\
                 hf_probe_{number}() {{\nhf_attr type file\n}}\n\
                 hf_apply_{number}() {{\n{apply}\n}}\n"
            ));
        }
        body.push_str(&format!("hf_steps={}\n", applies.len()));
        Self {
            body,
            ..Self::default()
        }
    }
}

impl Host {
    pub(crate) fn new(shell: &'static str) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            shell,
            job_shell: None,
            bare: false,
            // A blank and a quote: a state folder is data, whatever it is called.
            state_name: "it's state",
        }
    }

    /// A host whose state folder is called as on most.
    pub(crate) fn plain(shell: &'static str) -> Self {
        Self {
            state_name: "state",
            ..Self::new(shell)
        }
    }

    /// A host without `/proc` and without `setsid`, in a mount namespace of its own (root only).
    pub(crate) fn bare(shell: &'static str) -> Self {
        Self {
            bare: true,
            ..Self::new(shell)
        }
    }

    /// Makes the wrapper, and each of its steps, wait for the file `path("begin")` before it does anything.
    pub(crate) fn begin_late(&mut self) {
        let script = self.path("late");
        let text = format!(
            "#!/bin/sh\nuntil [ -e '{}' ]; do sleep 0.05; done\nexec {} \"$@\"\n",
            self.path("begin").display(),
            self.shell
        );
        std::fs::write(&script, text).expect("the folder is ours");
        self.job_shell = Some(format!("/bin/sh {}", script.display()));
    }

    /// A host whose jobs are run by this sh script, which gets the shell's arguments.
    pub(crate) fn with_wrapper(shell: &'static str, script: &str) -> Self {
        let mut host = Self::new(shell);
        let path = host.path("wrapper");
        std::fs::write(&path, script).expect("the folder is ours");
        host.job_shell = Some(format!("{shell} {}", path.display()));
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path(self.state_name)
    }

    pub(crate) fn state_text(&self) -> String {
        self.state().to_str().expect("temporary paths are UTF-8").to_owned()
    }

    /// Starts the shell as a carrier would, with nothing of its own process group's.
    pub(crate) fn spawn(&self) -> Child {
        let bare = format!(
            "mount --bind /dev/null \"$(command -v setsid)\" && mount -t tmpfs none /proc && exec {}",
            self.shell
        );
        let mut words = if self.bare {
            vec!["unshare", "-m", "sh", "-c", &bare].into_iter()
        } else {
            self.shell.split(' ').collect::<Vec<_>>().into_iter()
        };
        Command::new(words.next().expect("a split has a first part"))
            .args(words)
            .env("HOLDFAST_SH", self.job_shell.as_deref().unwrap_or(self.shell))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the shell is there")
    }

    /// Runs a program; the payload is asked for once the host is ready, with what the host has.
    pub(crate) fn exec(
        &self,
        nonce: &Nonce,
        program: &[u8],
        mut payload: impl FnMut(&[String]) -> Option<Vec<u8>>,
    ) -> Reply {
        let mut child = self.spawn();
        let mut stdin = child.stdin.take();
        let mut stdout = child.stdout.take().expect("stdout is piped");
        stdin
            .as_mut()
            .expect("stdin is piped")
            .write_all(program)
            .expect("the program is read");
        let mut decoder = Decoder::new(nonce);
        let mut records = Vec::new();
        let mut have = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let count = stdout.read(&mut chunk).expect("stdout can be read");
            if count == 0 {
                break;
            }
            for record in decoder.push(&chunk[..count]).expect("the reply keeps to the protocol") {
                match &record {
                    Record::Have { sha256 } => have.push(sha256.clone()),
                    Record::Ready => {
                        if let Some(bytes) = payload(&have) {
                            // A host that refuses may be gone before all is written.
                            let _ = stdin.as_mut().expect("ready comes once").write_all(&bytes);
                        }
                        stdin = None;
                    }
                    _ => {}
                }
                records.push(record);
            }
            // What a job holds open of this connection (yash keeps a copy of stdout) is not waited for.
            if decoder.is_done() {
                break;
            }
        }
        assert!(decoder.failed().is_none(), "{:?}", decoder.failed());
        let _ = child.wait();
        Reply {
            records,
            done: decoder.is_done(),
        }
    }

    pub(crate) fn observe(&self, body: &str) -> Reply {
        let nonce = nonce();
        let state = self.state_text();
        let request = ObserveRequest {
            state_dir: Some(&state),
            facts: true,
            controller: Some(CONTROLLER),
            lives: true,
            body,
        };
        self.exec(&nonce, &program::observe(&nonce, &request), |_| None)
    }

    pub(crate) fn follow(&self, attempt: &str) -> Reply {
        let nonce = nonce();
        let state = self.state_text();
        let request = program::FollowRequest {
            state_dir: Some(&state),
            attempt,
        };
        self.exec(&nonce, &program::follow(&nonce, &request), |_| None)
    }

    pub(crate) fn ack(&self, attempt: &str, epoch: u64) -> Reply {
        let nonce = nonce();
        let state = self.state_text();
        let request = program::AckRequest {
            state_dir: Some(&state),
            epoch,
            attempts: &[attempt],
            void: &[],
        };
        self.exec(&nonce, &program::ack(&nonce, &request), |_| None)
    }

    /// Starts job `a1` and gives the shell that feeds and follows it, once `begun` is there.
    pub(crate) fn begin(&self, job: &Job, begun: &Path) -> Child {
        let nonce = nonce();
        let (program, mut payload) = self.prepare(&nonce, "a1", job);
        let mut child = self.spawn();
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(&program).expect("the program is read");
        let mut said = Vec::new();
        let stdout = child.stdout.as_mut().expect("stdout is piped");
        while !String::from_utf8_lossy(&said).contains(" ready\n") {
            let mut chunk = [0; 256];
            let count = stdout.read(&mut chunk).expect("stdout can be read");
            assert!(
                count > 0,
                "it ended before it was ready: {}",
                String::from_utf8_lossy(&said)
            );
            said.extend_from_slice(&chunk[..count]);
        }
        stdin.write_all(&payload(&[])).expect("the payload is read");
        drop(stdin);
        wait_for(begun);
        child
    }

    /// Kills the wrapper of job `a1`, and nothing else of it.
    pub(crate) fn kill_wrapper(&self) {
        let pid = std::fs::read_to_string(self.state().join("jobs/a1/pid")).expect("the wrapper wrote it");
        let pid = pid.split(' ').next().expect("a split has a first part");
        let killed = Command::new("kill").args(["-9", pid]).status();
        assert!(killed.is_ok_and(|status| status.success()));
    }

    pub(crate) fn start(&self, attempt: &str, job: &Job) -> Reply {
        self.start_with(attempt, job, Some)
    }

    /// Starts a job whose payload is changed on its way.
    pub(crate) fn start_with(&self, attempt: &str, job: &Job, change: impl FnMut(Vec<u8>) -> Option<Vec<u8>>) -> Reply {
        let nonce = nonce();
        let (program, mut payload) = self.prepare(&nonce, attempt, job);
        let mut change = change;
        self.exec(&nonce, &program, |have| change(payload(have)))
    }

    /// Makes the program of a start, and the payload for what the host has.
    pub(crate) fn prepare(
        &self,
        nonce: &Nonce,
        attempt: &str,
        job: &Job,
    ) -> (Vec<u8>, impl FnMut(&[String]) -> Vec<u8> + use<>) {
        let state = self.state_text();
        let step = program::job_step(&job.body).into_bytes();
        let blobs: Vec<Sum> = job.blobs.iter().map(|bytes| Sum::of(bytes)).collect();
        let step_sum = Sum::of(&step);
        let parts: Vec<Part<'_>> = blobs.iter().map(Sum::part).collect();
        let machine = std::fs::read_to_string(self.state().join("machine"))
            .ok()
            .filter(|_| !job.first_contact);
        let program = program::start(
            nonce,
            &StartRequest {
                state_dir: Some(&state),
                attempt,
                epoch: job.epoch,
                controller: CONTROLLER,
                machine: machine.as_deref().map(str::trim_end),
                machine_new: MACHINE_NEW,
                ack: &job.acks,
                void: &job.voids,
                blobs: &parts,
                step: step_sum.part(),
            },
        );
        let bytes = job.blobs.clone();
        let payload = move |have: &[String]| {
            let mut payload = Vec::new();
            for (sum, bytes) in blobs.iter().zip(&bytes) {
                if !have.contains(&sum.sha256) {
                    payload.extend_from_slice(bytes);
                    payload.extend_from_slice(program::padding(sum.bytes));
                }
            }
            payload.extend_from_slice(&step);
            payload.extend_from_slice(program::padding(step.len() as u64));
            payload
        };
        (program, payload)
    }
}

/// A part's digests, from the system's tools and so from another source than the host's check of them.
pub(crate) struct Sum {
    pub(crate) sha256: String,
    crc: u32,
    bytes: u64,
}

impl Sum {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let sha = pipe("sha256sum", bytes);
        let crc = pipe("cksum", bytes);
        Self {
            sha256: sha[..64].to_owned(),
            crc: crc
                .split(' ')
                .next()
                .and_then(|word| word.parse().ok())
                .expect("cksum prints a number"),
            bytes: bytes.len() as u64,
        }
    }

    fn part(&self) -> Part<'_> {
        Part {
            sha256: &self.sha256,
            crc: self.crc,
            bytes: self.bytes,
        }
    }
}

fn pipe(tool: &str, bytes: &[u8]) -> String {
    let mut child = Command::new(tool)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool is on every machine that runs these tests");
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(bytes)
        .expect("the tool reads its input");
    String::from_utf8(child.wait_with_output().expect("the tool ends").stdout).expect("digests are ASCII")
}

/// Tells whether this user may mount; says so if not.
pub(crate) fn may_mount() -> bool {
    let may = Command::new("unshare")
        .args(["-m", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !may {
        skip::skip("mounting needs root");
    }
    may
}

/// Waits until `path` is there, at most twenty seconds.
pub(crate) fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{} did not appear",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Counts the lines of a file; a missing one has none.
pub(crate) fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}
