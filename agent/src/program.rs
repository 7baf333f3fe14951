//! Assembles the sh programs that run on hosts, out of the files in `agent/sh/` and quoted values.
//!
//! A carrier starts `/bin/sh`, writes a program to its stdin and reads the reply, which [`crate::reply`] decodes. What
//! is said in between is written down in docs/design/0001-host-protocol.md. Nothing here runs a program, and nothing
//! here knows what the bodies do: they are text made by the core.
//!
//! A whole program stands inside `{ ...; exit 0; }`, so a transfer that was cut is a syntax error and runs nothing.

use std::fmt::Write as _;

const PRELUDE: &str = include_str!("../sh/prelude.sh");
const CAPS: &str = include_str!("../sh/caps.sh");
const PROBE: &str = include_str!("../sh/probe.sh");
const CHANGE: &str = concat!(
    include_str!("../sh/place.sh"),
    include_str!("../sh/carry.sh"),
    include_str!("../sh/change.sh"),
    include_str!("../sh/back.sh"),
    include_str!("../sh/lines.sh")
);
const SWEEP: &str = include_str!("../sh/sweep.sh");
const FACTS: &str = include_str!("../sh/facts.sh");
const STATE: &str = include_str!("../sh/state.sh");
const RUNNER: &str = include_str!("../sh/runner.sh");
const GUARD: &str = concat!(include_str!("../sh/guard.sh"), include_str!("../sh/boot.sh"));
const JOB: &str = include_str!("../sh/job.sh");
const SUPERVISE: &str = include_str!("../sh/supervise.sh");
const RUN: &str = include_str!("../sh/run.sh");

/// Payload parts are padded to a multiple of this: the block that `dd bs=512` cuts.
const BLOCK_BYTES: u64 = 512;

/// What marks the lines of one reply, so that banners and noise can't be mistaken for them: 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Nonce(String);

impl Nonce {
    /// Writes sixteen random bytes as a nonce.
    pub fn new(random: [u8; 16]) -> Self {
        let mut text = String::with_capacity(32);
        for byte in random {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Reads a nonce that was written down.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| Self(text.to_owned()))
    }

    /// Shows the nonce.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Asks a host about itself and about resources. It writes nothing there.
#[derive(Debug, Clone, Copy, Default)]
pub struct ObserveRequest<'a> {
    /// The state folder; `None` is the default, which the host knows (by its user).
    pub state_dir: Option<&'a str>,
    /// Whether facts are wanted.
    pub facts: bool,
    /// Whose last job the host shall name; `None`: nobody's.
    pub controller: Option<&'a str>,
    /// Whether the host shall list the lives of which it keeps what was there before.
    pub lives: bool,
    /// The collect calls and probes; empty when only the host itself is asked about.
    pub body: &'a str,
}

/// Bytes that a start may have to bring: a blob or the step file.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// SHA-256, lowercase hex: the blob's name.
    pub sha256: &'a str,
    /// POSIX `cksum`, for hosts without a SHA-256 tool.
    pub crc: u32,
    /// How many bytes.
    pub bytes: u64,
}

/// Starts a job: one attempt, at most once.
#[derive(Debug, Clone, Copy)]
pub struct StartRequest<'a> {
    /// The state folder; `None` is the default.
    pub state_dir: Option<&'a str>,
    /// The attempt's id: letters, digits and `-`.
    pub attempt: &'a str,
    /// The lease's epoch; the host refuses an older one than it has seen.
    pub epoch: u64,
    /// Who starts it: the host keeps which job was this controller's last.
    pub controller: &'a str,
    /// The machine id that the host must have; `None` if it had none when it was observed.
    pub machine: Option<&'a str>,
    /// The machine id it gets if it has none.
    pub machine_new: &'a str,
    /// Ended jobs that were collected and go first.
    pub ack: &'a [&'a str],
    /// Jobs that are not known to have begun: they go first, and never begin any more. If one has, the start is refused.
    pub void: &'a [&'a str],
    /// The blobs that the job reads. The payload is those the host does not say it has, in this order, then the step.
    pub blobs: &'a [Part<'a>],
    /// The step file, made by [`job_step`].
    pub step: Part<'a>,
}

/// Tells the journal of a job, from its start to its end.
#[derive(Debug, Clone, Copy)]
pub struct FollowRequest<'a> {
    /// The state folder; `None` is the default.
    pub state_dir: Option<&'a str>,
    /// Which job.
    pub attempt: &'a str,
}

/// Confirms, over a connection made after a guarded change, that the host can still be reached.
#[derive(Debug, Clone, Copy)]
pub struct ConfirmRequest<'a> {
    /// The state folder; `None` is the default.
    pub state_dir: Option<&'a str>,
    /// Which job.
    pub attempt: &'a str,
}

/// Removes jobs that ended and were collected.
#[derive(Debug, Clone, Copy)]
pub struct AckRequest<'a> {
    /// The state folder; `None` is the default.
    pub state_dir: Option<&'a str>,
    /// The lease's epoch; the host refuses an older one than it has seen.
    pub epoch: u64,
    /// Which jobs, of those whose end is recorded.
    pub attempts: &'a [&'a str],
    /// Jobs that are not known to have begun, as for a start.
    pub void: &'a [&'a str],
}

/// Makes the program of an observe.
pub fn observe(nonce: &Nonce, request: &ObserveRequest<'_>) -> Vec<u8> {
    let mut program = Program::new(nonce, request.state_dir, &[CAPS, PROBE, FACTS, STATE]);
    program.set("hf_facts", if request.facts { "1" } else { "0" });
    program.set("hf_controller", request.controller.unwrap_or(""));
    program.set("hf_lives", if request.lives { "1" } else { "0" });
    program.text("hf_body() {\n:\n");
    program.raw(request.body);
    // A body may end without a newline.
    program.raw("\n");
    program.text("}\nhf_observe_main\n");
    program.end()
}

/// Makes the program of a start; after `ready` it wants its payload, and then it follows the job.
pub fn start(nonce: &Nonce, request: &StartRequest<'_>) -> Vec<u8> {
    let mut program = Program::new(nonce, request.state_dir, &[CAPS, STATE, SWEEP, RUNNER]);
    program.set("hf_attempt", request.attempt);
    program.set("hf_epoch", &request.epoch.to_string());
    program.set("hf_controller", request.controller);
    program.set("hf_machine", request.machine.unwrap_or(""));
    program.set("hf_machine_new", request.machine_new);
    program.set("hf_acks", &request.ack.join(" "));
    program.set("hf_voids", &request.void.join(" "));
    let mut parts = String::new();
    for part in request.blobs.iter().chain([&request.step]) {
        let _ = writeln!(parts, "{} {} {}", part.sha256, part.crc, part.bytes);
    }
    program.set("hf_parts", &parts);
    program.text("hf_start_main\n");
    program.end()
}

/// Makes the program that tells a job's journal until its end.
pub fn follow(nonce: &Nonce, request: &FollowRequest<'_>) -> Vec<u8> {
    let mut program = Program::new(nonce, request.state_dir, &[STATE, RUNNER]);
    program.set("hf_attempt", request.attempt);
    program.text("hf_follow_main\n");
    program.end()
}

/// Makes the program that confirms a guarded change.
pub fn confirm(nonce: &Nonce, request: &ConfirmRequest<'_>) -> Vec<u8> {
    let mut program = Program::new(nonce, request.state_dir, &[STATE, RUNNER]);
    program.set("hf_attempt", request.attempt);
    program.text("hf_confirm_main\n");
    program.end()
}

/// Makes the program that removes collected jobs.
pub fn ack(nonce: &Nonce, request: &AckRequest<'_>) -> Vec<u8> {
    let mut program = Program::new(nonce, request.state_dir, &[STATE, SWEEP, RUNNER]);
    program.set("hf_epoch", &request.epoch.to_string());
    program.set("hf_acks", &request.attempts.join(" "));
    program.set("hf_voids", &request.void.join(" "));
    program.text("hf_ack_main\n");
    program.end()
}

/// Makes the program of an ad-hoc command: after the line `NONCE run` on stdout and on stderr everything is the
/// command's own, and the exec's exit status is the command's. [`crate::reply::RunStart`] finds that line. With `input`
/// the command reads what is sent after the line on stdout, else it has none.
pub fn run(nonce: &Nonce, command: &str, input: bool) -> Vec<u8> {
    let mut program = Program(String::from("{\n"));
    program.set("hf_nonce", nonce.as_str());
    program.set("hf_command", command);
    program.set("hf_input", if input { "1" } else { "0" });
    program.text(RUN);
    program.end()
}

/// Makes the step file of a job from its body (see "Job" in the protocol note): the library, the body, the main call.
///
/// It holds no secret and is sent as the last part of a start's payload.
pub fn job_step(body: &str) -> String {
    let mut program = Program(String::from("{\n"));
    for library in [PRELUDE, CAPS, PROBE, SWEEP, CHANGE, STATE, SUPERVISE, GUARD, JOB] {
        program.text(library);
    }
    program.raw(body);
    program.text("\nhf_job_main \"$@\"\n");
    program.0.push_str("exit 0; }\n");
    program.0
}

/// Gives the zeros that follow a part of `bytes` bytes in a payload.
pub fn padding(bytes: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];
    let over = bytes % BLOCK_BYTES;
    if over == 0 { &[] } else { &ZEROS[over as usize..] }
}

struct Program(String);

impl Program {
    fn new(nonce: &Nonce, state_dir: Option<&str>, libraries: &[&'static str]) -> Self {
        let mut program = Self(String::from("{\n"));
        program.text(PRELUDE);
        for library in libraries {
            program.text(library);
        }
        program.set("hf_nonce", nonce.as_str());
        program.set("hf_state", state_dir.unwrap_or(""));
        program
    }

    /// Sets a variable to a value, quoted.
    fn set(&mut self, name: &'static str, value: &str) {
        let _ = writeln!(self.0, "{name}={}", quote(value));
    }

    /// Appends text of ours without its comments and its indentation: less to send, less to parse. No text of ours
    /// has a string or a here-document that spans lines beginning with blanks or `#`.
    fn text(&mut self, text: &'static str) {
        for line in text.lines() {
            let line = line.trim_start();
            if !line.is_empty() && !line.starts_with('#') {
                self.0.push_str(line);
                self.0.push('\n');
            }
        }
    }

    /// Appends text as it is.
    fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push_str("exit 0; }\n");
        self.0.into_bytes()
    }
}

/// Quotes a value as one sh word. A NUL can't be in one and is dropped; the core refuses such values on load.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\0', "").replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_where_it_says_and_carries_no_comments() {
        let nonce = Nonce::new([7; 16]);
        let program = observe(
            &nonce,
            &ObserveRequest {
                state_dir: Some("/it's"),
                facts: true,
                body: "hf_begin 1",
                ..ObserveRequest::default()
            },
        );
        let text = String::from_utf8(program).expect("programs are text");
        assert!(text.starts_with("{\n") && text.ends_with("exit 0; }\n"));
        assert!(!text.lines().any(|line| line.starts_with('#')));
        assert!(text.contains(r"hf_state='/it'\''s'"));
    }

    #[test]
    fn parts_are_padded_to_whole_blocks() {
        assert_eq!(padding(0).len(), 0);
        assert_eq!(padding(512).len(), 0);
        assert_eq!(padding(1).len(), 511);
        assert_eq!(padding(1025).len(), 511);
    }
}
