//! How a host is reached: one open way to it is a [`Session`], and all a session can do is carry a program to
//! `/bin/sh` and its answer back. Knows no protocol of the runner, no plan and no store.
//!
//! ```text
//! connect(&Target, &Context) -> Box<dyn Session>
//!    ssh    russh, one connection per host, one channel at a time      ssh/
//!    local  /bin/sh as a child process                                 local.rs
//!    agent  frames over an ExecStream of one of the two above          agent/
//! ```

pub mod agent;
mod error;
mod local;
mod patience;
mod ssh;
mod watch;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use holdfast_inventory::HostName;
use secrecy::SecretString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;

pub use error::TransportError;
pub use patience::{Patience, SLOWEST_BYTES_S, Silence};
pub(crate) use ssh::known_hosts_line;

/// Which output a chunk came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a handler wants after a chunk.
#[derive(Debug)]
pub enum Reaction {
    /// Go on reading.
    Continue,
    /// Write this to the program's stdin, then close it. A second payload in one exec is a broken invariant.
    Send(Payload),
    /// Enough was read: end the exec. The process on the host may live on.
    Stop,
}

/// Bytes for a program's stdin, in pieces, so that blobs need not be copied together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload(pub Vec<Bytes>);

impl Payload {
    /// Counts the bytes.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// Reads what a program prints.
pub trait Handler: Send {
    /// Takes the next chunk; it is at most a few hundred KiB and cut anywhere.
    fn chunk(&mut self, stream: Stream, bytes: &[u8]) -> Reaction;

    /// Tells whether the program itself has spoken (its nonce was seen).
    ///
    /// It distinguishes a refusal of sudo or of the login shell from the program's own exit code. A handler that
    /// can't tell keeps the default; then an empty stdout counts as silence.
    fn answered(&self) -> bool {
        false
    }
}

/// How an exec ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecEnd {
    /// The exit status; `None` if a signal ended it, the handler stopped it, or the server did not say.
    pub exit: Option<i32>,
    /// The signal that ended it, without `SIG` (`KILL`).
    pub signal: Option<String>,
    /// Whether the handler asked to stop.
    pub stopped: bool,
}

/// What went over a session so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of programs and payloads written to the host.
    pub bytes_out: u64,
    /// Bytes of stdout and stderr read.
    pub bytes_in: u64,
    /// Execs: channels opened (SSH) or processes started (local).
    pub execs: u64,
    /// Connections opened.
    pub connections: u64,
    /// Waits for the other side at the level of Holdfast: connecting, logging in, an exec, a payload.
    pub round_trips: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        self.execs += other.execs;
        self.connections += other.connections;
        self.round_trips += other.round_trips;
    }
}

/// A raw two-way stream to a program on the host, for protocols of their own (the agent's frames).
///
/// Dropping `io` closes the program's stdin and ends the exec.
pub struct ExecStream {
    /// Reads the program's stdout, writes its stdin; shutting down the write side sends EOF.
    pub io: DuplexStream,
    /// How it ended, and the last words of its stderr (at most 4 KiB).
    pub end: oneshot::Receiver<Result<(ExecEnd, Vec<u8>), TransportError>>,
}

impl fmt::Debug for ExecStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecStream").finish_non_exhaustive()
    }
}

/// One open way to a host.
///
/// It runs one program at a time. After an error of kind connection-lost the session is of no more use; after a
/// deadline or a silence it may be.
pub trait Session: Send {
    /// Runs `/bin/sh` (or `sudo -n /bin/sh`) on the host with `program` on its stdin, until it ended or the patience did.
    ///
    /// stdin stays open after the program until the handler sends a payload, so the program must end by itself.
    /// The end of patience ends the waiting, not the process on the host (it does for `local`).
    fn run<'a>(
        &'a mut self,
        program: Vec<u8>,
        handler: &'a mut dyn Handler,
        patience: Patience,
    ) -> BoxFuture<'a, Result<ExecEnd, TransportError>>;

    /// Runs a command given as sh text of our own (`/usr/lib/holdfast/holdfast-agent stdio`; `sudo -n` is put in
    /// front where the host becomes) and gives its stdin and stdout as a stream.
    fn open_stream<'a>(&'a mut self, command: &'a str) -> BoxFuture<'a, Result<ExecStream, TransportError>>;

    /// Shows what went over this session so far.
    fn traffic(&self) -> Traffic;

    /// Ends the session in good order; bounded by a few seconds.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Which carrier reaches a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Via {
    /// An SSH exec channel.
    #[default]
    Ssh,
    /// A child process on this machine.
    Local,
    /// The agent on the host, spoken to over an SSH exec channel.
    Agent,
}

/// How a user becomes another on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Become {
    /// Not at all.
    #[default]
    No,
    /// `sudo -n`: root, without a password.
    Sudo,
}

impl Become {
    /// Gives the command that starts the shell: exactly this goes to the server.
    pub fn shell(self) -> &'static str {
        match self {
            Become::No => "/bin/sh",
            Become::Sudo => "sudo -n /bin/sh",
        }
    }
}

/// What is done with a host key that is in no known_hosts file. A changed key is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostKeyPolicy {
    /// Refuse it.
    #[default]
    Strict,
    /// Write it down and trust it from then on.
    AcceptNew,
}

/// How long each phase of a connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The name, and TCP for each of its addresses, which are tried side by side.
    pub connect: Duration,
    /// The server's banner and the key exchange.
    pub handshake: Duration,
    /// The login.
    pub auth: Duration,
}

impl Default for Timeouts {
    /// 10 s for TCP; 60 s each for handshake and login, because servers that look up our address in a dead DNS
    /// take 20 s and more before they answer.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(60),
            auth: Duration::from_secs(60),
        }
    }
}

/// A host resolved to how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in the inventory.
    pub name: HostName,
    /// Name or IP address to connect to.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// Key files to try, in order; empty: the defaults in `~/.ssh`, which may be missing.
    pub identities: Vec<PathBuf>,
    /// The environment variable that holds the password, if there is one.
    pub password_env: Option<String>,
    /// What to do with unknown host keys.
    pub host_keys: HostKeyPolicy,
    /// Timeouts by phase.
    pub timeouts: Timeouts,
    /// How to become root.
    pub r#become: Become,
    /// Which carrier.
    pub via: Via,
    /// Where Holdfast keeps its things on the host; `None`: the default for the user it runs as.
    pub state_dir: Option<String>,
    /// Within how long a change of what carries us has to be confirmed over a new connection.
    pub confirm_timeout: Duration,
}

/// Two minutes: longer than the slowest login that we wait for, shorter than anybody's way to the machine room.
const CONFIRM_TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);

impl Target {
    /// Makes a target with every default.
    pub fn new(name: impl Into<HostName>, address: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            port: 22,
            user: user.into(),
            identities: Vec::new(),
            password_env: None,
            host_keys: HostKeyPolicy::default(),
            timeouts: Timeouts::default(),
            r#become: Become::default(),
            via: Via::default(),
            state_dir: None,
            confirm_timeout: CONFIRM_TIMEOUT_DEFAULT,
        }
    }
}

/// Looks up a secret by the name of its environment variable.
pub type SecretLookup = Arc<dyn Fn(&str) -> Option<SecretString> + Send + Sync>;

/// What connecting needs to know of this machine; the same for all hosts, and cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The user's home, for default identities and known_hosts; `None`: there is none.
    pub home: Option<PathBuf>,
    /// The project's own known_hosts file, which is read first and alone is written.
    pub known_hosts: PathBuf,
    /// Further known_hosts files, only read.
    pub known_hosts_read: Vec<PathBuf>,
    /// The socket of the ssh-agent, if there is one.
    pub agent_socket: Option<PathBuf>,
    /// Where passwords come from.
    pub secrets: SecretLookup,
    /// What was read so far and all hosts share: key files, the ssh-agent's keys, known_hosts.
    pub memory: Memory,
}

/// What connecting reads once, however many hosts there are; a clone is the same memory.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    ssh: Arc<ssh::Memory>,
}

impl Context {
    /// Makes the usual context of a project in `folder`: its own `.holdfast/known_hosts` is written, those of the
    /// user and of this machine are read too.
    pub fn for_project(
        folder: &Path,
        home: Option<PathBuf>,
        agent_socket: Option<PathBuf>,
        secrets: SecretLookup,
    ) -> Self {
        let mut known_hosts_read = Vec::new();
        if let Some(home) = &home {
            known_hosts_read.push(home.join(".ssh/known_hosts"));
        }
        known_hosts_read.push(PathBuf::from("/etc/ssh/ssh_known_hosts"));
        Self {
            home,
            known_hosts: folder.join(".holdfast/known_hosts"),
            known_hosts_read,
            agent_socket,
            secrets,
            memory: Memory::default(),
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("home", &self.home)
            .field("known_hosts", &self.known_hosts)
            .field("known_hosts_read", &self.known_hosts_read)
            .field("agent_socket", &self.agent_socket)
            .finish_non_exhaustive()
    }
}

/// Opens a session to a host by the carrier that the target names.
///
/// What an agent can do beyond that is offered by [`connect_agent`].
pub async fn connect(target: &Target, context: &Context) -> Result<Box<dyn Session>, TransportError> {
    match target.via {
        Via::Local => Ok(local::connect(target)),
        Via::Ssh => ssh::connect(target, context).await,
        Via::Agent => Ok(Box::new(connect_agent(target, context).await?)),
    }
}

/// Opens a session through the agent of a host, over SSH, whatever carrier the target names.
pub async fn connect_agent(target: &Target, context: &Context) -> Result<agent::AgentSession, TransportError> {
    let below = ssh::connect(target, context).await?;
    agent::AgentSession::open(below, agent::AGENT_PATH, target).await
}
