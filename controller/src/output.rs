//! The output of ad-hoc commands: found in the stream, bounded, and handed to whoever shows it.

use crate::transport::{Handler, Payload, Reaction, Stream};
use bytes::Bytes;
use holdfast_agent::program::Nonce;
use holdfast_agent::reply::RunStart;
use holdfast_inventory::HostName;
use holdfast_plan::outcome::Outcome;
use std::sync::Arc;

/// Bytes kept of the beginning and of the end of each stream of each host. With 300 hosts that differ in every byte
/// this is 40 MB; what is in between is counted, and shown while streaming.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Bytes kept of what a host says before the command begins: enough for the words of whatever answers instead of it.
const BEFORE_BYTES_MAX: usize = 1024;

/// Who takes output.
pub trait Output: Send + Sync {
    /// Takes bytes as they come.
    fn chunk(&self, host: &HostName, stream: Stream, bytes: &[u8]);
    /// Takes what is kept when a command is over.
    fn over(&self, host: &HostName, outcome: &Outcome, collected: Collected);
    /// Takes how a host ended, once for each, also where no command ever began.
    fn ended(&self, host: &HostName, outcome: &Outcome);
}

/// The head and the tail of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    left_out: u64,
}

impl Kept {
    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = KEPT_BYTES_MAX - self.head.len();
        let (head, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(head);
        // Only the last bytes of a long chunk can stay: the others are never copied.
        let skipped = rest.len().saturating_sub(KEPT_BYTES_MAX);
        let rest = &rest[skipped..];
        let over = (self.tail.len() + rest.len()).saturating_sub(KEPT_BYTES_MAX);
        self.tail.drain(..over);
        self.tail.extend(rest);
        self.left_out += (skipped + over) as u64;
    }

    /// Shows what was kept, with a line where something was left out.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        if self.left_out > 0 {
            bytes.extend_from_slice(format!("\n[... {} bytes are not kept ...]\n", self.left_out).as_bytes());
        }
        bytes.extend(&self.tail);
        bytes
    }

    /// How many bytes were left out.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// What a command printed, bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Its stdout.
    pub stdout: Kept,
    /// Its stderr.
    pub stderr: Kept,
}

/// Passes a command's output on, from the line after which everything is the command's own.
pub struct CommandHandler {
    host: HostName,
    stdout: RunStart,
    stderr: RunStart,
    collected: Collected,
    output: Arc<dyn Output>,
    before: Vec<u8>,
    began: bool,
    /// Sent once the command reads.
    input: Option<Bytes>,
}

impl CommandHandler {
    /// Begins with the nonce of the program, and what the command shall read.
    pub fn new(host: &HostName, nonce: &Nonce, input: Option<Bytes>, output: Arc<dyn Output>) -> Self {
        Self {
            host: host.clone(),
            stdout: RunStart::new(nonce),
            stderr: RunStart::new(nonce),
            collected: Collected::default(),
            output,
            before: Vec::new(),
            began: false,
            input,
        }
    }

    /// Tells whether the command was begun.
    pub fn began(&self) -> bool {
        self.began
    }

    /// Gives what the host said before the command began, in one clean line.
    pub fn said_before(&self) -> String {
        let text = String::from_utf8_lossy(&self.before);
        crate::view::sanitize::one_line(text.trim())
    }

    /// Gives what was kept.
    pub fn finish(self) -> Collected {
        self.collected
    }
}

impl Handler for CommandHandler {
    fn chunk(&mut self, stream: Stream, bytes: &[u8]) -> Reaction {
        let (start, kept) = match stream {
            Stream::Stdout => (&mut self.stdout, &mut self.collected.stdout),
            Stream::Stderr => (&mut self.stderr, &mut self.collected.stderr),
        };
        let own = start.push(bytes);
        self.began |= start.is_started();
        // Not before the mark on stdout: until then the shell that reads the program might swallow it.
        let reads = stream == Stream::Stdout && start.is_started();
        if !self.began {
            let room = BEFORE_BYTES_MAX.saturating_sub(self.before.len());
            self.before.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if !own.is_empty() {
            kept.push(own);
            self.output.chunk(&self.host, stream, own);
        }
        match self.input.take_if(|_| reads) {
            Some(input) => Reaction::Send(Payload(vec![input])),
            None => Reaction::Continue,
        }
    }

    fn answered(&self) -> bool {
        self.began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_keeps_its_head_and_its_tail() {
        let mut kept = Kept::default();
        for _ in 0..100 {
            kept.push(&[b'a'; 10_000]);
        }
        kept.push(b"the end");
        let bytes = kept.bytes();
        assert!(bytes.len() < 2 * KEPT_BYTES_MAX + 100, "{}", bytes.len());
        assert!(bytes.starts_with(b"aaaa") && bytes.ends_with(b"the end"));
        assert_eq!(kept.left_out(), 1_000_007 - 2 * KEPT_BYTES_MAX as u64);
    }
}
