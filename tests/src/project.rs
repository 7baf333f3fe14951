//! A project in a folder of its own, and the `holdfast` binary run on it as a person would, with a clean environment.
//!
//! Knows the command line only from outside: arguments in; stdout, stderr, exit code and memory out.

use crate::bed::{Bed, BedHost};
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a command may take before the test gives up on it: an apply to ten hosts that boot on two busy cores
/// takes some twenty seconds; what takes eight times as long hangs.
const PATIENCE: Duration = Duration::from_secs(160);

/// How often a running command is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A project folder and a home of its own.
pub struct Project {
    folder: TempDir,
}

/// A command that is running.
pub struct Running {
    typed: String,
    child: Child,
    stdout: std::thread::JoinHandle<Vec<u8>>,
    stderr: std::thread::JoinHandle<Vec<u8>>,
    began: Instant,
}

/// What a command left.
#[derive(Debug)]
pub struct Ended {
    /// What was typed.
    pub typed: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
    /// The largest resident memory that was seen, in KiB; 0 if it ended at once.
    pub memory_kib: u64,
    /// How long it took.
    pub took: Duration,
}

/// Finds a binary of the workspace, built as these tests were: cargo builds no binaries of other packages for a test.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = std::env::var_os("HOLDFAST_BINARIES") {
        return PathBuf::from(folder).join(name);
    }
    let folder = FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows where it lies");
        let folder = test
            .parent()
            .and_then(Path::parent)
            .expect("tests lie in target/PROFILE/deps")
            .to_path_buf();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "-p", "holdfast", "-p", "holdfast-agent"]);
        build.current_dir(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .expect("tests/ lies in the project"),
        );
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let target = folder.parent().expect("target holds the profiles");
        let status = build
            .env("CARGO_TARGET_DIR", target)
            .stdin(Stdio::null())
            .status()
            .expect("cargo starts");
        assert!(status.success(), "the binaries can't be built");
        folder
    });
    folder.join(name)
}

/// Tells whether there is a static agent to install, and says so if not: only `tests/agent-size` or CI builds one.
pub fn has_static_agent() -> bool {
    let target = binary("holdfast")
        .parent()
        .and_then(Path::parent)
        .map(Path::to_path_buf);
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let found = target.is_some_and(|target| target.join(triple).join("agent/holdfast-agent").is_file());
    if !found {
        crate::skip::skip("there is no static holdfast-agent; `just agent` builds one");
    }
    found
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

impl Project {
    /// Makes an empty project: no host, no blueprint.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("holdfast-test-")
            .tempdir()
            .expect("a folder can be made");
        let project = Self { folder };
        fs::create_dir_all(project.folder.path().join("home/.ssh")).expect("a home");
        project.write(
            "holdfast.toml",
            "inventory = [\"inventory.toml\"]\nblueprints = [\"blueprints/*.toml\"]\n",
        );
        project.write("inventory.toml", "");
        project.blueprint("");
        project
    }

    /// Makes a project whose inventory is the hosts of a bed, with root and the bed's key.
    pub fn of(bed: &Bed) -> Self {
        Self::with_hosts(bed, |_| String::new())
    }

    /// Like [`Project::of`], with more lines in the entry of each host; `user` among them replaces root.
    pub fn with_hosts(bed: &Bed, lines: impl Fn(&BedHost) -> String) -> Self {
        let project = Self::new();
        project.write(
            "home/.ssh/known_hosts",
            fs::read_to_string(&bed.known_hosts).expect("the bed wrote it"),
        );
        project.write(
            "holdfast.toml",
            format!(
                "inventory = [\"inventory.toml\"]\nblueprints = [\"blueprints/*.toml\"]\n[ssh]\nuser = \"root\"\nidentity = [{:?}]\n",
                bed.key.display().to_string()
            ),
        );
        project.inventory(bed, lines);
        project
    }

    /// Writes the inventory anew: the hosts of a bed, each with more lines in its entry.
    pub fn inventory(&self, bed: &Bed, lines: impl Fn(&BedHost) -> String) {
        let mut inventory = String::new();
        for host in &bed.hosts {
            let more = lines(host);
            write!(
                inventory,
                "[hosts.{}]\naddress = \"{}\"\n{more}\n",
                host.name, host.address
            )
            .expect("a String takes it");
        }
        self.write("inventory.toml", &inventory);
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("inside of the folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    /// Replaces the project's one blueprint.
    pub fn blueprint(&self, text: &str) {
        self.write("blueprints/fleet.toml", text);
    }

    /// Finds a file of the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Prepares `holdfast` with arguments, in the project's folder, with nothing of the caller's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("holdfast"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("USER", "tester").env("LOGNAME", "tester");
        command
    }

    /// Starts a command; its output is read as it comes.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, &[])
    }

    /// Like [`Project::start`], with environment variables.
    pub fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("holdfast starts");
        let stdout = drain(child.stdout.take().expect("piped"));
        let stderr = drain(child.stderr.take().expect("piped"));
        Running {
            typed: format!("holdfast {}", arguments.join(" ")),
            child,
            stdout,
            stderr,
            began: Instant::now(),
        }
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait()
    }

    /// Like [`Project::run`], with environment variables.
    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        self.start_with(arguments, environment).wait()
    }
}

fn drain(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

impl Running {
    /// Kills it as `kill -9` does.
    pub fn kill(mut self) -> Ended {
        self.child.kill().expect("it is ours");
        self.wait()
    }

    /// Interrupts it as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// Stops it where it is, as a machine that hangs does.
    pub fn stop(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process id");
        rustix::process::kill_process(pid, signal).expect("it is ours");
    }

    /// Waits for its end.
    pub fn wait(self) -> Ended {
        self.wait_at_most(PATIENCE)
    }

    /// Waits for the end of what takes longer than others.
    pub fn wait_at_most(mut self, patience: Duration) -> Ended {
        let mut memory_kib = 0;
        let status = loop {
            memory_kib = memory_kib.max(peak_memory_kib(self.child.id()));
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                break Some(status);
            }
            if self.began.elapsed() > patience {
                self.child.kill().expect("it is ours");
                self.child.wait().expect("it is ours");
                break None;
            }
            std::thread::sleep(POLL);
        };
        let text = |reader: std::thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().expect("the reader only reads")).into_owned()
        };
        let ended = Ended {
            typed: self.typed,
            code: status.and_then(|status| status.code()),
            stdout: text(self.stdout),
            stderr: text(self.stderr),
            memory_kib,
            took: self.began.elapsed(),
        };
        assert!(status.is_some(), "did not end within {patience:?}: {ended}");
        ended
    }
}

/// Asks the kernel; 0 once the process is gone.
fn peak_memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0)
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "\n$ {}   (code {:?}, {:.1} s)",
            self.typed,
            self.code,
            self.took.as_secs_f32()
        )?;
        write!(f, "--- stdout\n{}--- stderr\n{}---", self.stdout, self.stderr)
    }
}

impl Ended {
    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts that stdout or stderr has a text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "does not say `{text}`: {self}"
        );
        self
    }

    /// Asserts that neither stdout nor stderr has a text.
    #[track_caller]
    pub fn says_not(self, text: &str) -> Self {
        assert!(
            !self.stdout.contains(text) && !self.stderr.contains(text),
            "says `{text}`: {self}"
        );
        self
    }

    /// Asserts that a text is said exactly once, on stdout or stderr: who reads both reads it once.
    #[track_caller]
    pub fn says_once(self, text: &str) -> Self {
        let times = self.stdout.matches(text).count() + self.stderr.matches(text).count();
        assert_eq!(times, 1, "`{text}`: {self}");
        self
    }

    /// Reads stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// Finds the first number in the first line of stderr that has `before` in it, right after it.
    #[track_caller]
    pub fn number_after(&self, before: &str) -> u64 {
        let rest = self.stderr.split_once(before).map(|(_, rest)| rest.trim_start());
        let digits: String = rest
            .unwrap_or_default()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits
            .parse()
            .unwrap_or_else(|_| panic!("no number after `{before}`: {self}"))
    }
}
