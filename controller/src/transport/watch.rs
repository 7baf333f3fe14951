//! Tells a program's own exit from a refusal to run it: by sudo, or by a host without the program.
//!
//! Wraps the caller's handler, counts bytes and keeps the first words of stderr. Shared by the carriers.

use super::{Become, ExecEnd, Handler, Reaction, Stream, TransportError};

/// Enough for any message of sudo and a banner before it; the rest of stderr is the handler's business.
const STDERR_HEAD_BYTES_MAX: usize = 4096;

/// Longest message of a host that is quoted in an error.
const SAID_CHARS_MAX: usize = 200;

pub(crate) struct Watch<'a> {
    inner: &'a mut dyn Handler,
    stderr_head: Vec<u8>,
    stdout_bytes: u64,
    stderr_bytes: u64,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(inner: &'a mut dyn Handler) -> Self {
        Self {
            inner,
            stderr_head: Vec::new(),
            stdout_bytes: 0,
            stderr_bytes: 0,
        }
    }

    pub(crate) fn chunk(&mut self, stream: Stream, bytes: &[u8]) -> Reaction {
        match stream {
            Stream::Stdout => self.stdout_bytes += bytes.len() as u64,
            Stream::Stderr => {
                self.stderr_bytes += bytes.len() as u64;
                let room = STDERR_HEAD_BYTES_MAX - self.stderr_head.len();
                self.stderr_head.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
        self.inner.chunk(stream, bytes)
    }

    pub(crate) fn answered(&self) -> bool {
        self.inner.answered()
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.stdout_bytes + self.stderr_bytes
    }

    /// Judges how it ended: a refusal becomes an error, everything else is the program's own.
    pub(crate) fn judge(&self, end: ExecEnd, r#become: Become) -> Result<ExecEnd, TransportError> {
        let Some(code) = end.exit.filter(|code| *code != 0) else {
            return Ok(end);
        };
        if self.inner.answered() {
            return Ok(end);
        }
        let silent = self.stdout_bytes == 0;
        if silent && code == 127 {
            return Err(TransportError::ProgramMissing {
                program: r#become.shell().to_owned(),
                said: self.said(code),
            });
        }
        if r#become == Become::Sudo && code == 1 {
            if let Some(said) = sudo_refusal(&self.stderr_head) {
                return Err(TransportError::SudoRefused { said });
            }
            if silent {
                return Err(TransportError::SudoRefused { said: self.said(code) });
            }
        }
        Ok(end)
    }

    fn said(&self, code: i32) -> String {
        last_line(&self.stderr_head, code)
    }
}

fn last_line(stderr: &[u8], code: i32) -> String {
    let text = String::from_utf8_lossy(stderr);
    match text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => shown(line),
        None => format!("exit code {code} and no message"),
    }
}

/// Finds what sudo says when it does not let a user become root. The words are translated on some hosts, the
/// prefix `sudo:` is not. Its complaint about a host without a name stands in front of whatever it says.
fn sudo_refusal(stderr: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(stderr)
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("sudo: unable to resolve host"))
        .find(|line| {
            line.starts_with("sudo:")
                || line.contains("is not in the sudoers file")
                || line.contains("is not allowed to execute")
                || line.contains("may not run sudo")
        })
        .map(|line| shown(line.trim_start_matches("sudo:").trim_start()));
    said.or_else(|| stderr.starts_with(b"sudo:").then(|| last_line(stderr, 1)))
}

/// Makes a host's words fit for a message: bounded, control bytes visible.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .take(SAID_CHARS_MAX)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Quiet(bool);

    impl Handler for Quiet {
        fn chunk(&mut self, _: Stream, _: &[u8]) -> Reaction {
            Reaction::Continue
        }

        fn answered(&self) -> bool {
            self.0
        }
    }

    fn judge(
        answered: bool,
        stdout: &[u8],
        stderr: &[u8],
        exit: i32,
        r#become: Become,
    ) -> Result<ExecEnd, &'static str> {
        let mut handler = Quiet(answered);
        let mut watch = Watch::new(&mut handler);
        watch.chunk(Stream::Stdout, stdout);
        watch.chunk(Stream::Stderr, stderr);
        let end = ExecEnd {
            exit: Some(exit),
            ..ExecEnd::default()
        };
        watch.judge(end, r#become).map_err(|error| error.kind())
    }

    #[test]
    fn a_refusal_of_sudo_is_told_from_the_programs_own_exit() {
        let refusal = b"sudo: a password is required\n";
        assert_eq!(judge(false, b"", refusal, 1, Become::Sudo), Err("sudo-refused"));
        assert_eq!(
            judge(false, b"motd\n", b"ops is not in the sudoers file.\n", 1, Become::Sudo),
            Err("sudo-refused")
        );
        assert!(judge(true, b"nonce run\n", refusal, 1, Become::Sudo).is_ok());
        assert!(judge(false, b"output\n", b"", 1, Become::Sudo).is_ok());
        assert!(judge(false, b"", refusal, 1, Become::No).is_ok());
    }

    #[test]
    fn the_reason_of_sudo_is_told_and_not_its_complaints() {
        let said = b"sudo: unable to resolve host x: Name or service not known\nsudo: a password is required\n";
        assert_eq!(sudo_refusal(said).as_deref(), Some("a password is required"));
    }

    #[test]
    fn a_missing_program_is_named() {
        assert_eq!(
            judge(false, b"", b"sh: 1: sudo: not found\n", 127, Become::Sudo),
            Err("program-missing")
        );
        assert!(judge(true, b"nonce run\n", b"", 127, Become::No).is_ok());
    }

    #[test]
    fn words_of_a_host_are_bounded_and_carry_no_control_bytes() {
        assert_eq!(shown("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert!(shown(&"x".repeat(10_000)).len() <= SAID_CHARS_MAX);
    }
}
