//! A host that is a folder: its programs are run by `/bin/sh`, in a mount namespace of its own where accounts matter.

use holdfast::link::Reply;
use holdfast_agent::program::{self, Nonce, ObserveRequest, Part, StartRequest};
use holdfast_agent::reply::{Decoder, Record};
use holdfast_plan::content::Content;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Mounts only in its own namespace: the machine's accounts and crontabs are not touched.
const NAMESPACE: &str = r#"
mount --bind "$1/etc" /etc && mount --bind "$1/home" /home && mount --bind "$1/mail" /var/mail &&
mount --bind "$1/crontabs" /var/spool/cron/crontabs || exit 99
exec /bin/sh
"#;

/// The least that the tools for accounts need, with a few accounts of known content.
const FURNISH: &str = r#"
umask 022
mkdir "$1/etc" "$1/home" "$1/mail" "$1/crontabs" "$1/etc/skel" "$1/etc/default" && cd "$1/etc" &&
cp -a /etc/login.defs /etc/pam.d /etc/nsswitch.conf /etc/security . && mkdir alternatives &&
cp -a /etc/alternatives/awk alternatives/ && printf 'skeleton\n' >skel/.profile &&
printf 'root:x:0:0:root:/root:/bin/sh\nold:x:1500:1500:Old, one:/home/old:/bin/sh\n' >passwd &&
printf 'root:*:19000:0:99999:7:::\nold:$6$x$y:19001:1:90:7:14::\n' >shadow &&
printf 'root:x:0:\nold:x:1500:\nstaff:x:50:old\nempty:x:60:\nwww:x:33:root,old\n' >group &&
printf 'root:*::\nold:!::\nstaff:!::old\nempty:!::\nwww:!::root,old\n' >gshadow &&
: >subuid && : >subgid && chmod 640 shadow gshadow && mkdir -m 700 ../home/old && chown 1500:1500 ../home/old &&
chgrp crontab "$1/crontabs" && chmod 1730 "$1/crontabs"
"#;

/// A host.
pub struct Host {
    folder: tempfile::TempDir,
    accounts: bool,
    nonces: Cell<u8>,
}

/// A job as it is sent.
pub struct Sent<'a> {
    /// Its attempt.
    pub attempt: &'a str,
    /// The machine's id, if the controller knows it.
    pub machine: Option<&'a str>,
    /// The id that it gets else.
    pub machine_new: &'a str,
    /// Jobs that are recorded.
    pub ack: Vec<&'a str>,
    /// Jobs that never began.
    pub void: Vec<&'a str>,
    /// What the steps read.
    pub blobs: Vec<Arc<[u8]>>,
    /// The step file.
    pub step: Vec<u8>,
}

impl Host {
    /// Makes one, with accounts and crontabs of its own if they matter.
    pub fn new(accounts: bool) -> Self {
        // In memory: walks sync often, and no disk is under test.
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let host = Self {
            folder: folder.expect("a folder can be made"),
            accounts,
            nonces: Cell::new(0),
        };
        fs::create_dir(host.root()).expect("the folder is ours");
        if accounts {
            let made = Command::new("sh")
                .args(["-c", FURNISH, "sh"])
                .arg(host.folder.path())
                .status();
            assert!(made.is_ok_and(|made| made.success()), "the host is furnished");
        }
        host
    }

    /// The folder in which files are managed.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A path of the host's own accounts: `etc/passwd`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn state_text(&self) -> String {
        self.state().display().to_string()
    }

    fn nonce(&self) -> Nonce {
        self.nonces.set(self.nonces.get().wrapping_add(1));
        Nonce::new([self.nonces.get(); 16])
    }

    fn command(&self) -> Command {
        if !self.accounts {
            return Command::new("/bin/sh");
        }
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "/bin/sh", "-c", NAMESPACE, "sh"]);
        command.arg(self.folder.path());
        command
    }

    /// Does by hand what people do; what it prints.
    pub fn by_hand(&self, script: &str) -> String {
        let mut command = self.command();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(script.as_bytes()).expect("it is read");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}: {words}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Observes.
    pub fn observe(&self, body: &str) -> Reply {
        let (nonce, state) = (self.nonce(), self.state_text());
        let request = ObserveRequest {
            state_dir: Some(&state),
            facts: false,
            controller: None,
            lives: false,
            body,
        };
        self.exec(&nonce, &program::observe(&nonce, &request), &[])
    }

    /// Sends a job and follows it to its end.
    pub fn start(&self, sent: &Sent<'_>) -> Reply {
        let (nonce, state) = (self.nonce(), self.state_text());
        let bytes: Vec<&[u8]> = sent
            .blobs
            .iter()
            .map(|blob| &**blob)
            .chain([sent.step.as_slice()])
            .collect();
        let contents: Vec<Content> = bytes.iter().map(|bytes| Content::of(bytes)).collect();
        let parts: Vec<Part<'_>> = contents
            .iter()
            .map(|content| Part {
                sha256: &content.sha256,
                crc: content.crc,
                bytes: content.bytes,
            })
            .collect();
        let (step, blobs) = parts.split_last().expect("the step file is one");
        let program = program::start(
            &nonce,
            &StartRequest {
                state_dir: Some(&state),
                attempt: sent.attempt,
                epoch: 1,
                controller: "walk",
                machine: sent.machine,
                machine_new: sent.machine_new,
                ack: &sent.ack,
                void: &sent.void,
                blobs,
                step: *step,
            },
        );
        let payload: Vec<(&str, &[u8])> = contents.iter().map(|c| c.sha256.as_str()).zip(bytes).collect();
        self.exec(&nonce, &program, &payload)
    }

    /// Takes jobs off that are recorded.
    pub fn ack(&self, attempts: &[&str]) -> Reply {
        let (nonce, state) = (self.nonce(), self.state_text());
        let request = program::AckRequest {
            state_dir: Some(&state),
            epoch: 1,
            attempts,
            void: &[],
        };
        self.exec(&nonce, &program::ack(&nonce, &request), &[])
    }

    fn exec(&self, nonce: &Nonce, program: &[u8], payload: &[(&str, &[u8])]) -> Reply {
        let mut command = self.command();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell");
        let mut stdin = child.stdin.take();
        let mut stdout = child.stdout.take().expect("stdout is piped");
        stdin
            .as_mut()
            .expect("stdin is piped")
            .write_all(program)
            .expect("the program is read");
        let (mut decoder, mut reply) = (Decoder::new(nonce), Reply::default());
        let (mut have, mut chunk) = (BTreeSet::new(), [0; 8192]);
        while !decoder.is_done() {
            let count = stdout.read(&mut chunk).expect("stdout can be read");
            if count == 0 {
                break;
            }
            for record in decoder.push(&chunk[..count]).expect("it keeps to the protocol") {
                match &record {
                    Record::Have { sha256 } => {
                        have.insert(sha256.clone());
                    }
                    Record::Ready => {
                        let mut stdin = stdin.take().expect("ready comes once");
                        for (at, (sha256, bytes)) in payload.iter().enumerate() {
                            if at + 1 == payload.len() || !have.contains(*sha256) {
                                // A host that refuses may be gone before all is written.
                                let _ = stdin.write_all(bytes);
                                let _ = stdin.write_all(program::padding(bytes.len() as u64));
                            }
                        }
                    }
                    _ => {}
                }
                reply.take(record);
            }
        }
        let _ = child.wait();
        reply
    }
}
