//! The messages, as protobuf by derive. Tags are for ever: a retired field's tag is never used again.
//!
//! A receiver ignores fields it does not know. A message whose body it does not know arrives as `body: None`; the
//! agent answers it with [`FailureKind::Unknown`], so that a newer controller learns that it must do without.

use bytes::Bytes;

/// One message: a body, and the order that it obeys when the agent dialled home.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// For whom and until when a command is meant. Checked for dial-home connections only: over an SSH exec channel
    /// the controller reached exactly this host a moment ago, and sshd vouches for both.
    #[prost(message, optional, tag = "1")]
    pub order: Option<Order>,
    /// What it says.
    #[prost(
        oneof = "Body",
        tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19"
    )]
    pub body: Option<Body>,
}

/// What makes a command of a dialled connection unrepeatable.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Order {
    /// The machine id that it is meant for.
    #[prost(string, tag = "1")]
    pub host_id: String,
    /// Milliseconds since 1970 after which it must not be obeyed.
    #[prost(int64, tag = "2")]
    pub expires_at_ms: i64,
    /// Grows with every command; the agent keeps the highest it has seen.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
}

/// What a message says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Body {
    /// First message of both sides.
    #[prost(message, tag = "2")]
    Hello(Hello),
    /// Controller: run a program.
    #[prost(message, tag = "3")]
    Exec(Exec),
    /// Controller: standard input of the program.
    #[prost(message, tag = "4")]
    Stdin(Stdin),
    /// Agent: output of the program.
    #[prost(message, tag = "5")]
    Output(Output),
    /// Agent: the program ended.
    #[prost(message, tag = "6")]
    Exit(Exit),
    /// Both: so many more bytes may be sent.
    #[prost(message, tag = "7")]
    Window(Window),
    /// Controller: keep and schedule these probes.
    #[prost(message, tag = "8")]
    SetProbes(SetProbes),
    /// Agent: the probes it keeps.
    #[prost(message, tag = "9")]
    ProbesStatus(ProbesStatus),
    /// Controller: send what was spooled.
    #[prost(message, tag = "10")]
    Collect(Collect),
    /// Agent: one spooled report.
    #[prost(message, tag = "11")]
    Report(Report),
    /// Agent: no more reports.
    #[prost(message, tag = "12")]
    CollectEnd(CollectEnd),
    /// Controller: recorded up to here, forget them.
    #[prost(message, tag = "13")]
    Ack(Ack),
    /// Agent: forgotten.
    #[prost(message, tag = "14")]
    Acked(Acked),
    /// Controller: how are you?
    #[prost(message, tag = "15")]
    GetStatus(GetStatus),
    /// Agent: so.
    #[prost(message, tag = "16")]
    Status(Status),
    /// Both: are you there?
    #[prost(message, tag = "17")]
    Ping(Ping),
    /// Both: yes.
    #[prost(message, tag = "18")]
    Pong(Pong),
    /// Agent: the request was refused or failed.
    #[prost(message, tag = "19")]
    Failure(Failure),
}

/// First message of both sides.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Oldest version of the protocol that the sender speaks.
    #[prost(uint32, tag = "1")]
    pub version_min: u32,
    /// Newest version of the protocol that the sender speaks.
    #[prost(uint32, tag = "2")]
    pub version_max: u32,
    /// Names of what the sender can do beyond its version.
    #[prost(string, repeated, tag = "3")]
    pub features: Vec<String>,
    /// The sender's release, for people.
    #[prost(string, tag = "4")]
    pub release: String,
}

/// Runs `/bin/sh` with a program on its standard input, as an SSH exec would.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Exec {
    /// Names the execution on this connection.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The first bytes of standard input; more may follow as [`Stdin`].
    #[prost(bytes = "bytes", tag = "2")]
    pub program: Bytes,
}

/// Standard input of a running program, within the window that the agent granted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stdin {
    /// Which execution.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub bytes: Bytes,
    /// Whether these were the last.
    #[prost(bool, tag = "3")]
    pub eof: bool,
}

/// A stream of a running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Stream {
    /// Standard output.
    Stdout = 0,
    /// Standard error.
    Stderr = 1,
    /// Standard input (in [`Window`] only).
    Stdin = 2,
}

/// Output of a running program, within the window that the controller granted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Output {
    /// Which execution.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Which stream.
    #[prost(enumeration = "Stream", tag = "2")]
    pub stream: i32,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub bytes: Bytes,
}

/// The program ended. Its whole output was sent before.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Exit {
    /// Which execution.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its exit code, if it ended by itself.
    #[prost(int32, optional, tag = "2")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[prost(int32, optional, tag = "3")]
    pub signal: Option<i32>,
}

/// Grants bytes: the receiver has passed on so many, the sender may send as many more.
///
/// Every stream begins with [`WINDOW_BYTES`](super::WINDOW_BYTES); standard output and error share one window.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Window {
    /// Which execution.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Which direction: `Stdin`, or `Stdout` for both outputs.
    #[prost(enumeration = "Stream", tag = "2")]
    pub stream: i32,
    /// How many more.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
}

/// Keeps a program of probes and its schedule; it replaces the last one. Answered by [`ProbesStatus`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetProbes {
    /// The sh program; empty: probe nothing any more.
    #[prost(bytes = "bytes", tag = "1")]
    pub program: Bytes,
    /// Seconds between two runs, at least 1.
    #[prost(uint32, tag = "2")]
    pub interval_s: u32,
    /// What the controller calls this program (a digest); comes back in reports and status.
    #[prost(string, tag = "3")]
    pub digest: String,
    /// The nonce in front of the program's reply lines: 32 hex digits.
    #[prost(string, tag = "4")]
    pub nonce: String,
    /// Seconds after which a run is stopped; 0: the agent's default.
    #[prost(uint32, tag = "5")]
    pub deadline_s: u32,
}

/// The probes that the agent keeps.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProbesStatus {
    /// The digest given with them; empty: none.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Seconds between two runs.
    #[prost(uint32, tag = "2")]
    pub interval_s: u32,
}

/// Asks for spooled reports.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Collect {
    /// The spool that `after_seq` counts in; any other (or empty): everything is sent.
    #[prost(string, tag = "1")]
    pub spool: String,
    /// The last sequence number that is already recorded.
    #[prost(uint64, tag = "2")]
    pub after_seq: u64,
}

/// What a report tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ReportKind {
    /// `bytes` is what the probes replied, because it is no longer what the last report said.
    Observation = 0,
    /// The probes gave no whole reply; `bytes` says why, for people.
    ProbesFailed = 1,
}

/// One spooled report: delivered at least once, known by (spool, seq).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// The spool.
    #[prost(string, tag = "1")]
    pub spool: String,
    /// Its number there, from 1, without gaps unless reports were lost.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    /// When it was made, in milliseconds since 1970 by the host's clock.
    #[prost(int64, tag = "3")]
    pub at_ms: i64,
    /// What it tells.
    #[prost(enumeration = "ReportKind", tag = "4")]
    pub kind: i32,
    /// The digest of the probes that ran.
    #[prost(string, tag = "5")]
    pub probes_digest: String,
    /// The nonce in front of the reply's lines.
    #[prost(string, tag = "6")]
    pub nonce: String,
    /// See [`ReportKind`].
    #[prost(bytes = "bytes", tag = "7")]
    pub bytes: Bytes,
}

/// All reports that were there have been sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CollectEnd {
    /// The spool; empty: no daemon ever ran here.
    #[prost(string, tag = "1")]
    pub spool: String,
    /// How many between `after_seq` and the newest are gone (dropped because the spool was full, or unreadable).
    #[prost(uint64, tag = "2")]
    pub lost: u64,
    /// The highest sequence number given so far.
    #[prost(uint64, tag = "3")]
    pub newest_seq: u64,
}

/// Forgets all reports of a spool up to a number. Answered by [`Acked`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ack {
    /// The spool.
    #[prost(string, tag = "1")]
    pub spool: String,
    /// The last recorded number.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}

/// Reports up to a number are forgotten.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Acked {
    /// The spool.
    #[prost(string, tag = "1")]
    pub spool: String,
    /// The number.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}

/// Asks for [`Status`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetStatus {}

/// How the agent of a host is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// Its release.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The spool's id; empty: none yet.
    #[prost(string, tag = "2")]
    pub spool: String,
    /// How many reports wait to be collected.
    #[prost(uint64, tag = "3")]
    pub pending: u64,
    /// When the oldest waiting one was made, in milliseconds since 1970.
    #[prost(int64, optional, tag = "4")]
    pub oldest_at_ms: Option<i64>,
    /// The daemon's process, if one runs.
    #[prost(uint32, optional, tag = "5")]
    pub daemon_pid: Option<u32>,
    /// When the daemon last ran its probes, in milliseconds since 1970.
    #[prost(int64, optional, tag = "6")]
    pub last_probe_at_ms: Option<i64>,
    /// The digest of the probes it keeps; empty: none.
    #[prost(string, tag = "7")]
    pub probes_digest: String,
    /// Seconds between two runs.
    #[prost(uint32, tag = "8")]
    pub interval_s: u32,
    /// The folder it keeps its things in, for people.
    #[prost(string, tag = "9")]
    pub state_dir: String,
    /// What the host's clock says, in milliseconds since 1970: the times of reports are by it. An older agent says nothing.
    #[prost(int64, optional, tag = "10")]
    pub now_ms: Option<i64>,
}

/// Are you there?
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ping {
    /// Comes back in the answer.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// Yes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pong {
    /// From the question.
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// Why a request was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum FailureKind {
    /// The agent itself could not do it; see the text.
    Internal = 0,
    /// The message's body is not known to this agent.
    Unknown = 1,
    /// Another program is still running on this connection.
    Busy = 2,
    /// A field has a value that can't be.
    Invalid = 3,
    /// The spool is another one: the agent was reinstalled.
    OtherSpool = 4,
    /// `/bin/sh` could not be started.
    NoShell = 5,
    /// A bound was exceeded (bytes beyond the window, a program too large).
    TooMuch = 6,
    /// The agent's files could not be read or written (full disk, read-only mount, not permitted).
    Storage = 7,
}

/// A request was refused or failed; the connection goes on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Failure {
    /// The execution it is about; 0: the request before.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Why.
    #[prost(enumeration = "FailureKind", tag = "2")]
    pub kind: i32,
    /// Why, for people.
    #[prost(string, tag = "3")]
    pub text: String,
}

impl From<Body> for Message {
    fn from(body: Body) -> Self {
        Self {
            order: None,
            body: Some(body),
        }
    }
}

impl Body {
    /// Names the message, for error texts and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Body::Hello(_) => "hello",
            Body::Exec(_) => "exec",
            Body::Stdin(_) => "stdin",
            Body::Output(_) => "output",
            Body::Exit(_) => "exit",
            Body::Window(_) => "window",
            Body::SetProbes(_) => "set-probes",
            Body::ProbesStatus(_) => "probes-status",
            Body::Collect(_) => "collect",
            Body::Report(_) => "report",
            Body::CollectEnd(_) => "collect-end",
            Body::Ack(_) => "ack",
            Body::Acked(_) => "acked",
            Body::GetStatus(_) => "get-status",
            Body::Status(_) => "status",
            Body::Ping(_) => "ping",
            Body::Pong(_) => "pong",
            Body::Failure(_) => "failure",
        }
    }
}

impl Failure {
    /// Makes a failure about an execution (or 0).
    pub fn new(id: u64, kind: FailureKind, text: impl Into<String>) -> Self {
        Self {
            id,
            kind: kind as i32,
            text: text.into(),
        }
    }
}
