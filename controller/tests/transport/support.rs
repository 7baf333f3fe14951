//! What the transport tests share: a handler that collects, targets, and an sshd of their own.

use holdfast::transport::{
    Context, ExecEnd, Handler, HostKeyPolicy, Memory, Patience, Payload, Reaction, Session, Stream, Target,
    TransportError,
};
use secrecy::SecretString;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

#[path = "../../../tests/src/skip.rs"]
mod skip;
pub(crate) use skip::skip;

/// Keeps what a program prints, and answers the line READY with a payload.
#[derive(Default)]
pub(crate) struct Collect {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) payload: Option<Payload>,
    pub(crate) stop_after_bytes: Option<usize>,
}

impl Handler for Collect {
    fn chunk(&mut self, stream: Stream, bytes: &[u8]) -> Reaction {
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.stderr.extend_from_slice(bytes),
        }
        if self.stop_after_bytes.is_some_and(|limit| self.stdout.len() >= limit) {
            return Reaction::Stop;
        }
        if self.stdout.ends_with(b"READY\n")
            && let Some(payload) = self.payload.take()
        {
            return Reaction::Send(payload);
        }
        Reaction::Continue
    }
}

impl Collect {
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

pub(crate) async fn run(
    session: &mut Box<dyn Session>,
    program: &str,
    handler: &mut dyn Handler,
) -> Result<ExecEnd, TransportError> {
    run_within(session, program, handler, Duration::from_secs(60)).await
}

pub(crate) async fn run_within(
    session: &mut Box<dyn Session>,
    program: &str,
    handler: &mut dyn Handler,
    limit: Duration,
) -> Result<ExecEnd, TransportError> {
    let program = format!("{{\n{program}\nexit 0; }}\n");
    session.run(program.into_bytes(), handler, Patience::of(limit)).await
}

/// A context without any of this machine's own files.
pub(crate) fn context(folder: &Path) -> Context {
    Context {
        home: None,
        known_hosts: folder.join("known_hosts"),
        known_hosts_read: Vec::new(),
        agent_socket: None,
        secrets: Arc::new(|_| None),
        memory: Memory::default(),
    }
}

pub(crate) fn with_password(mut context: Context, password: &'static str) -> Context {
    context.secrets = Arc::new(move |name| (name == "TEST_PASSWORD").then(|| SecretString::from(password)));
    context
}

pub(crate) fn target(address: SocketAddr, user: &str, identity: Option<&Path>) -> Target {
    let mut target = Target::new("web01", address.ip().to_string(), user);
    target.port = address.port();
    target.identities = identity.map(Path::to_path_buf).into_iter().collect();
    target.host_keys = HostKeyPolicy::AcceptNew;
    target
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn whoami() -> String {
    let output = Command::new("id").arg("-un").output().expect("id is POSIX");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Tells whether an SSH server would run programs for the user of this test, and says so if not.
pub(crate) fn can_log_in() -> bool {
    let entry = Command::new("getent").args(["passwd", &whoami()]).output();
    let entry = entry.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let entry = entry.unwrap_or_default();
    let refused = ["/nologin", "/false"].iter().any(|name| entry.trim().ends_with(name));
    if refused {
        skip("the login shell of this user runs no programs");
    }
    !refused
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .expect("loopback has free ports")
        .local_addr()
        .expect("a bound socket has an address")
}

pub(crate) fn keygen(path: &Path, arguments: &[&str]) {
    let done = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-f"])
        .arg(path)
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .expect("ssh-keygen is installed with sshd");
    assert!(done.success());
}

/// Waits until something listens.
pub(crate) fn wait_for(address: SocketAddr) {
    for _ in 0..100 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing listens on {address}");
}

/// An sshd of this test alone, with one client key.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) key: PathBuf,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// Starts it with further configuration lines; `None`: it is not installed, or needs root that we lack.
    pub(crate) fn start(lines: &[&str]) -> Option<Self> {
        let program = Path::new("/usr/sbin/sshd");
        if !program.exists() {
            skip("sshd is not installed");
            return None;
        }
        if !can_log_in() {
            return None;
        }
        if is_root() {
            std::fs::create_dir_all("/run/sshd").expect("root can make /run/sshd");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        keygen(&path("host_ed25519"), &["-t", "ed25519"]);
        keygen(&path("host_rsa"), &["-t", "rsa", "-b", "2048"]);
        keygen(&path("client"), &["-t", "ed25519"]);
        std::fs::copy(path("client.pub"), path("authorized_keys")).expect("a copy");
        let address = free_address();
        let mut config = format!(
            "Port {}\nPidFile none\nStrictModes no\nPermitRootLogin yes\nAuthorizedKeysFile {}\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            address.port(),
            path("authorized_keys").display(),
        );
        if !lines.iter().any(|line| line.starts_with("ListenAddress ")) {
            config.push_str("ListenAddress 127.0.0.1\n");
        }
        if !lines.iter().any(|line| line.starts_with("HostKey ")) {
            config.push_str(&format!(
                "HostKey {}\nHostKey {}\n",
                path("host_ed25519").display(),
                path("host_rsa").display()
            ));
        }
        // sshd takes the first value of an option.
        let config = format!(
            "{}\n{config}",
            lines.join("\n").replace("FOLDER", &folder.path().display().to_string())
        );
        std::fs::write(path("config"), config).expect("a file in our folder");
        let log = std::fs::File::create(path("log")).expect("a file in our folder");
        let child = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(path("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd starts");
        wait_for(address);
        let key = path("client");
        Some(Self {
            child,
            address,
            folder,
            key,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn target(&self) -> Target {
        target(self.address, &whoami(), Some(&self.key))
    }

    pub(crate) fn context(&self) -> Context {
        context(self.folder.path())
    }
}

/// An ssh-agent of this test alone.
pub(crate) struct SshAgent {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl SshAgent {
    /// Starts it; nobody is there to confirm anything. `None`: it is not installed.
    pub(crate) fn start(socket: PathBuf) -> Option<Self> {
        if !Path::new("/usr/bin/ssh-agent").exists() {
            skip("ssh-agent is not installed");
            return None;
        }
        let child = Command::new("/usr/bin/ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .env("SSH_ASKPASS", "/bin/false")
            .env_remove("DISPLAY")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ssh-agent starts");
        for _ in 0..250 {
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, socket })
    }

    /// Gives it a key; `-c` makes it ask a person before it signs.
    pub(crate) fn add(&self, arguments: &[&str], key: &Path) {
        let added = Command::new("ssh-add")
            .args(arguments)
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .stderr(Stdio::null())
            .status()
            .expect("ssh-add comes with ssh-agent");
        assert!(added.success());
    }
}

/// A user with a password, gone when the test ends.
pub(crate) struct User(pub(crate) String);

impl User {
    pub(crate) fn create(name: &str) -> Option<Self> {
        if !is_root() {
            skip("needs root to make a user");
            return None;
        }
        let _ = Command::new("userdel").args(["-rf", name]).output();
        let mut said = String::new();
        // Tests run beside each other, and /etc/passwd has one lock.
        let added = (0..100).any(|_| {
            let done = Command::new("useradd")
                .args(["-m", "-s", "/bin/sh", name])
                .output()
                .expect("useradd");
            said = String::from_utf8_lossy(&done.stderr).into_owned();
            if !done.status.success() {
                std::thread::sleep(Duration::from_millis(100));
            }
            done.status.success()
        });
        assert!(added, "{said}");
        let user = Self(name.to_owned());
        let changed = (0..100).any(|_| {
            let mut chpasswd = Command::new("chpasswd")
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("chpasswd");
            let line = format!("{name}:right horse\n");
            std::io::Write::write_all(&mut chpasswd.stdin.take().expect("piped"), line.as_bytes()).expect("written");
            chpasswd.wait().expect("chpasswd").success()
        });
        assert!(changed);
        Some(user)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["-rf", &self.0]).output();
    }
}

/// Peak resident memory of this process in bytes; it says something only where each test has its own process.
pub(crate) fn peak_resident_bytes() -> u64 {
    if std::env::var_os("NEXTEST").is_none() {
        skip("memory is measured under cargo nextest only");
        return 0;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}
