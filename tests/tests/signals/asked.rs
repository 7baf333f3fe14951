//! A command at a terminal of its own, which `script` makes; and one whose words are read while it runs.

use crate::skip::skip;
use holdfast_tests::project::Project;
use holdfast_tests::slow::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A command that asks a person.
pub(super) struct Asked<'p> {
    project: &'p Project,
    terminal: Child,
    /// Its program and arguments, as the kernel has them.
    line: Vec<u8>,
    said: PathBuf,
    code: PathBuf,
}

impl<'p> Asked<'p> {
    /// Starts it and waits for its question; `None`: there is no `script` here.
    pub(super) fn start(project: &'p Project, arguments: &[&str]) -> Option<Self> {
        if Command::new("script").arg("--version").output().is_err() {
            skip("script is not on this machine");
            return None;
        }
        let holdfast = project.command(&[]);
        let program = holdfast.get_program().to_str().expect("UTF-8").to_owned();
        let (said, code) = (project.path("said"), project.path("code"));
        let _ = (fs::remove_file(&code), fs::remove_file(&said));
        // The code comes back by a file.
        let line = format!("trap : INT; {program} {}; echo $? >code", arguments.join(" "));
        let environment = holdfast.get_envs().filter_map(|(key, value)| Some((key, value?)));
        let terminal = Command::new("script")
            .args(["-qfc", &line])
            .arg(&said)
            .current_dir(project.path(""))
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("script starts");
        let words = std::iter::once(&*program).chain(arguments.iter().copied());
        let line = words.flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
        let asked = Self {
            project,
            terminal,
            line,
            said,
            code,
        };
        wait_until(&format!("it asks: {arguments:?}"), || {
            asked.text().contains("Only 'yes'")
        });
        Some(asked)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Sends a signal: Ctrl-C as the key does, the others as `kill` does. Gives what was said and the exit code.
    pub(super) fn stopped_by(mut self, signal: Signal) -> (String, String) {
        if signal == Signal::INT {
            let keys = self.terminal.stdin.as_mut().expect("piped");
            keys.write_all(&[3]).expect("the terminal reads");
            keys.flush().expect("the terminal reads");
        } else {
            kill_process(self.pid(), signal).expect("it is ours");
        }
        wait_until("it ended", || {
            fs::read_to_string(&self.code).is_ok_and(|code| code.ends_with('\n'))
        });
        // It ends by itself, once it has written down all that was said.
        drop(self.terminal.stdin.take());
        wait_until("the terminal is gone", || {
            self.terminal.try_wait().expect("it is ours").is_some()
        });
        let code = fs::read_to_string(&self.code).expect("just read");
        (self.text(), code.trim().to_owned())
    }

    /// Finds its process: another command of the same project may run beside it.
    fn pid(&self) -> Pid {
        let folder = self.project.path("").canonicalize().expect("it is there");
        let pid = fs::read_dir("/proc")
            .expect("proc")
            .flatten()
            .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
            .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == self.line))
            .find_map(|entry| entry.file_name().to_str()?.parse().ok());
        pid.and_then(Pid::from_raw).expect("it runs")
    }
}

/// A command whose words are read while it runs.
pub(super) struct Overheard {
    child: Child,
    said: PathBuf,
}

impl Overheard {
    /// Starts it, with a stdin that nobody closes.
    pub(super) fn start(project: &Project, arguments: &[&str]) -> Self {
        let said = project.path("overheard");
        let file = fs::File::create(&said).expect("a file");
        let child = project
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(file)
            .spawn()
            .expect("holdfast starts");
        Self { child, said }
    }

    pub(super) fn text(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    pub(super) fn wait_for(&self, text: &str) {
        wait_until(&format!("it says {text:?}"), || self.text().contains(text));
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("it is ours");
    }

    /// Waits for the end; gives what was said and the exit code.
    pub(super) fn end(mut self) -> (String, Option<i32>) {
        let mut status = None;
        wait_until("it ended", || {
            status = self.child.try_wait().expect("it is ours");
            status.is_some()
        });
        (self.text(), status.and_then(|status| status.code()))
    }
}
