//! Decodes what a program of [`crate::program`] says: bytes in, typed records out, noise dropped.
//!
//! The bytes come from a host and are hostile: every length is capped, nothing is evaluated, and no input panics.
//! What a record means for a machine is not decided here.
//!
//! ```text
//! line without the nonce          -> dropped (banner, MOTD, .bashrc)
//! NONCE KEYWORD FIELDS...         -> Record
//! NONCE text|output ... BYTES     -> so many bytes and a newline follow -> Record with the bytes
//! ```

mod error;
mod escape;
mod limits;
mod line;
mod run_start;

pub use error::ReplyError;
pub use limits::{
    ATTRIBUTES_BYTES_MAX, EPOCH_MAX, FACTS_BYTES_MAX, FACTS_MAX, JOBS_MAX, LIVES_MAX, OUTPUT_BYTES_MAX, RECORDS_MAX,
};
pub use run_start::RunStart;

use crate::program::Nonce;
use line::{Line, cut, malformed, parse, shown};

/// The longest line that begins with the nonce. A path is at most 4 KiB and an attribute holds one or a few.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest blob: old text is cut at this by the host, a step's output at 4 KiB.
pub const BLOB_BYTES_MAX: usize = 64 * 1024;
/// The longest id, digest or key: a SHA-256 with its `sha256:` has 71.
const NAME_BYTES_MAX: usize = 80;
/// The longest reply, noise included. A host with 1000 resources and 1 MiB of old text stays below 2 MiB.
pub const REPLY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One thing that a host said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Send the payload now, then the end of input.
    Ready,
    /// The host has this blob: it is left out of the payload.
    Have {
        /// Its name.
        sha256: String,
    },
    /// A fact.
    Fact {
        /// Which.
        key: String,
        /// Its value.
        value: String,
    },
    /// The machine id found on the host.
    Machine {
        /// A UUID, as the host has it.
        id: String,
    },
    /// The highest epoch that the host has seen.
    Epoch {
        /// The epoch.
        epoch: u64,
    },
    /// The last job of the controller that asks.
    Last {
        /// The attempt that started it.
        attempt: String,
    },
    /// What was there before a resource, as the host keeps it.
    Life {
        /// The resource's life.
        life: String,
        /// The resource.
        address: String,
    },
    /// How many processes the host made meanwhile, ours and others'.
    Forks {
        /// How many.
        count: u64,
    },
    /// An attribute of a resource.
    Attr {
        /// The resource's number in the body.
        id: u32,
        /// Which attribute.
        key: String,
        /// Its value.
        value: String,
    },
    /// The old text of a resource.
    Text {
        /// The resource's number in the body.
        id: u32,
        /// The first bytes of the text.
        bytes: Vec<u8>,
    },
    /// A job that is not acked; its journal follows.
    Job {
        /// The attempt that started it.
        attempt: String,
        /// Where it stands.
        state: JobState,
    },
    /// A step was begun.
    Begin {
        /// The job's attempt.
        attempt: String,
        /// The step's number, from 1.
        index: u32,
    },
    /// A step's own sh is begun: *before* is whole and on disk, and the host may be changed from here on.
    Applying {
        /// The job's attempt.
        attempt: String,
        /// The step's number, from 1.
        index: u32,
        /// The digest of *before*, if the step's life has one.
        before_digest: Option<String>,
    },
    /// A job changed what carries us, and takes it back by itself unless it is confirmed over a new connection.
    Guarded {
        /// The job's attempt.
        attempt: String,
        /// Within how many seconds.
        seconds: u64,
    },
    /// The answer to a confirmation.
    Decided {
        /// The job's attempt.
        attempt: String,
        /// What was decided.
        decision: Decision,
    },
    /// What the probe found around a step.
    StepAttr {
        /// The job's attempt.
        attempt: String,
        /// The step's number, from 1.
        index: u32,
        /// Before or after it.
        when: When,
        /// Which attribute.
        key: String,
        /// Its value.
        value: String,
    },
    /// A step ended.
    Step {
        /// The job's attempt.
        attempt: String,
        /// The step's number, from 1.
        index: u32,
        /// How.
        status: StepStatus,
        /// After how many seconds.
        seconds: u64,
        /// The digest of the captured *before*, if there is one.
        before_digest: Option<String>,
        /// More: what was left, the exit code, the missing lines or the survivors joined by `; `, why not captured.
        detail: String,
    },
    /// The last words of a step.
    Output {
        /// The job's attempt.
        attempt: String,
        /// The step's number, from 1.
        index: u32,
        /// At most 4 KiB, if the host keeps to the protocol.
        bytes: Vec<u8>,
    },
    /// The job ended by itself.
    End {
        /// The job's attempt.
        attempt: String,
        /// How.
        end: JobEnd,
        /// More: the step that stopped it, the line that differs, who holds the lock.
        detail: String,
    },
    /// The request was refused; nothing was done.
    Refused {
        /// Why.
        kind: Refusal,
        /// More.
        detail: String,
    },
    /// The job's folder is gone.
    Acked {
        /// The job's attempt.
        attempt: String,
    },
    /// A line that begins with the nonce and is not understood: damaged, or of a later protocol. It says nothing, and
    /// takes nothing away from the other lines.
    Odd {
        /// The line without the nonce, at most 200 characters, control characters escaped.
        line: String,
    },
    /// The reply is complete; without it the transfer was cut.
    Done,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Reads the protocol's word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Shows the protocol's word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// Where a job on a host stands.
    JobState {
        /// It ended by itself; its `end` line follows the journal.
        Done = "done",
        /// Its wrapper is alive.
        Running = "running",
        /// It was begun, and its wrapper is gone or the host booted since.
        Interrupted = "interrupted",
        /// All of it arrived, and it was never begun.
        Unstarted = "unstarted",
        /// It did not arrive whole and can't begin.
        Untransferred = "untransferred",
        /// The host knows no such job: it was acked, or its start never came so far.
        Gone = "gone",
    }
}

words! {
    /// Whether an attribute was found before or after a step.
    When {
        /// Right before it.
        Before = "before",
        /// After it.
        After = "after",
    }
}

words! {
    /// How a step ended.
    StepStatus {
        /// Nothing was to be done.
        Unchanged = "unchanged",
        /// It changed the host as wanted.
        Changed = "changed",
        /// It did, and left something that belongs to others.
        Left = "left",
        /// Its sh ended with another code than 0.
        Failed = "failed",
        /// The probe does not show what is wanted.
        NotConverged = "not-converged",
        /// It ran out of time and was stopped.
        TimedOut = "timed-out",
        /// The ready check did not pass in time.
        NotReady = "not-ready",
        /// *Before* could not be captured: nothing was changed.
        NotCaptured = "not-captured",
        /// *Before* is gone or was changed; nothing was changed.
        BeforeLost = "before-lost",
        /// The host took it back by itself.
        Reverted = "reverted",
    }
}

words! {
    /// How a job ended.
    JobEnd {
        /// Every step was done.
        Completed = "completed",
        /// A step failed; later ones did not run.
        Stopped = "stopped",
        /// The fingerprint no longer held: nothing was done.
        Stale = "stale",
        /// Another job holds the host's lock: nothing was done.
        Locked = "locked",
        /// Nobody confirmed over a new connection: the host took back what carries us.
        Reverted = "reverted",
    }
}

words! {
    /// What was decided of a guarded change.
    Decision {
        /// It stays.
        Confirmed = "confirmed",
        /// It was taken back, or is about to be: the time was over.
        Reverted = "reverted",
        /// The job is not at its end yet.
        Early = "early",
        /// The host knows no such job, or it has no guard.
        Gone = "gone",
    }
}

words! {
    /// Why a request was refused.
    Refusal {
        /// Another job is not acked (the detail is its attempt), or the one to ack still runs.
        Busy = "busy",
        /// The host has seen a newer epoch (the detail).
        Epoch = "epoch",
        /// The host has another machine id, or none.
        Machine = "machine",
        /// No space or no inodes are left.
        DiskFull = "disk-full",
        /// The state folder is on a read-only mount.
        ReadOnly = "read-only",
        /// The state folder can't be made, or belongs to somebody else.
        NoStateDir = "no-state-dir",
        /// The attempt is already there (the detail is its state): follow it.
        Exists = "exists",
        /// The payload was cut or does not match its digest.
        Transfer = "transfer",
        /// The host lacks a tool (the detail).
        NoTool = "no-tool",
    }
}

/// Decodes one reply, however its bytes are cut into chunks.
#[derive(Debug)]
pub struct Decoder {
    nonce: Vec<u8>,
    buffer: Vec<u8>,
    state: State,
    total: usize,
    counts: limits::Counts,
    failed: Option<ReplyError>,
}

#[derive(Debug)]
enum State {
    /// At a line that may be ours.
    Line,
    /// In a line that is noise.
    Noise,
    /// In a blob: so many bytes and the newline after them are to come.
    Blob(BlobOf, usize),
    /// After `done`.
    Over,
}

#[derive(Debug, Clone)]
enum BlobOf {
    Text(u32),
    Output(String, u32),
}

impl Decoder {
    /// Begins a reply to the program with this nonce.
    pub fn new(nonce: &Nonce) -> Self {
        Self {
            nonce: [nonce.as_str().as_bytes(), b" "].concat(),
            buffer: Vec::new(),
            state: State::Line,
            total: 0,
            counts: limits::Counts::default(),
            failed: None,
        }
    }

    /// Takes the next bytes and gives the records that are complete with them.
    ///
    /// What follows `done` is dropped. After an error every call gives the same error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Record>, ReplyError> {
        let mut records = Vec::new();
        match self.take(bytes, &mut records) {
            Ok(()) => Ok(records),
            Err(error) => {
                self.buffer = Vec::new();
                self.failed = Some(error.clone());
                // What was understood before the fault stands; the fault shows at the next call or in `failed`.
                if records.is_empty() { Err(error) } else { Ok(records) }
            }
        }
    }

    /// Tells whether `done` came: the reply is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Tells what broke the reply, if something did.
    pub fn failed(&self) -> Option<&ReplyError> {
        self.failed.as_ref()
    }

    fn take(&mut self, mut bytes: &[u8], records: &mut Vec<Record>) -> Result<(), ReplyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        while !bytes.is_empty() {
            match &self.state {
                State::Over => return Ok(()),
                State::Noise => {
                    let line_end = bytes.iter().position(|byte| *byte == b'\n');
                    let eaten = line_end.map_or(bytes.len(), |at| at + 1);
                    self.count(eaten)?;
                    bytes = &bytes[eaten..];
                    if line_end.is_some() {
                        self.state = State::Line;
                    }
                }
                State::Line => {
                    // Byte by byte only as far as the nonce reaches: what differs there is noise.
                    let known = self.buffer.len();
                    if known < self.nonce.len() {
                        if bytes[0] == self.nonce[known] {
                            self.count(1)?;
                            self.buffer.push(bytes[0]);
                            bytes = &bytes[1..];
                        } else {
                            self.buffer.clear();
                            self.state = State::Noise;
                        }
                        continue;
                    }
                    let line_end = bytes.iter().position(|byte| *byte == b'\n');
                    let eaten = line_end.unwrap_or(bytes.len());
                    if known + eaten > LINE_BYTES_MAX {
                        return Err(ReplyError::Line);
                    }
                    self.count(eaten)?;
                    self.buffer.extend_from_slice(&bytes[..eaten]);
                    bytes = &bytes[eaten..];
                    if line_end.is_some() {
                        self.count(1)?;
                        bytes = &bytes[1..];
                        let line = std::mem::take(&mut self.buffer);
                        self.line(&line[self.nonce.len()..], records)?;
                    }
                }
                State::Blob(of, length) => {
                    let wanted = length + 1 - self.buffer.len();
                    let eaten = wanted.min(bytes.len());
                    let (of, length) = (of.clone(), *length);
                    self.count(eaten)?;
                    self.buffer.extend_from_slice(&bytes[..eaten]);
                    bytes = &bytes[eaten..];
                    if eaten == wanted {
                        let mut blob = std::mem::take(&mut self.buffer);
                        if blob.pop() != Some(b'\n') {
                            return Err(malformed(
                                format!("a blob of {length} bytes without its end").as_bytes(),
                            ));
                        }
                        let record = match of {
                            BlobOf::Text(id) => Record::Text { id, bytes: blob },
                            BlobOf::Output(attempt, index) => Record::Output {
                                attempt,
                                index,
                                bytes: blob,
                            },
                        };
                        self.counts.admit(&record)?;
                        records.push(record);
                        self.state = State::Line;
                    }
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), ReplyError> {
        self.total = self.total.saturating_add(bytes);
        if self.total > REPLY_BYTES_MAX {
            Err(ReplyError::Reply)
        } else {
            Ok(())
        }
    }

    fn line(&mut self, line: &[u8], records: &mut Vec<Record>) -> Result<(), ReplyError> {
        let text = String::from_utf8_lossy(line);
        let Some(parsed) = parse(&text) else {
            if matches!(cut(&text).0, "text" | "output") {
                return Err(malformed(line));
            }
            let odd = Record::Odd { line: shown(line) };
            self.counts.admit(&odd)?;
            records.push(odd);
            return Ok(());
        };
        match parsed {
            Line::Record(record) => {
                self.counts.admit(&record)?;
                if record == Record::Done {
                    self.state = State::Over;
                }
                records.push(record);
            }
            Line::Blob(of, length) => {
                if length > BLOB_BYTES_MAX as u64 {
                    return Err(ReplyError::Blob { announced: length });
                }
                self.state = State::Blob(of, length as usize);
            }
        }
        Ok(())
    }
}
