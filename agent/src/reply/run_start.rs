//! Where the output of an ad-hoc command begins: after the line of ours, whatever noise came before it.

use crate::program::Nonce;

/// Finds the line `NONCE run` in one stream of an ad-hoc command; what follows is the command's own.
#[derive(Debug)]
pub struct RunStart {
    line: Vec<u8>,
    matched: usize,
    noise: bool,
    started: bool,
}

impl RunStart {
    /// Begins a stream of the command with this nonce.
    pub fn new(nonce: &Nonce) -> Self {
        Self {
            line: format!("{} run\n", nonce.as_str()).into_bytes(),
            matched: 0,
            noise: false,
            started: false,
        }
    }

    /// Gives the part of the next bytes that is the command's own.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.started {
            return bytes;
        }
        for (at, byte) in bytes.iter().enumerate() {
            if !self.noise && *byte == self.line[self.matched] {
                self.matched += 1;
                if self.matched == self.line.len() {
                    self.started = true;
                    return &bytes[at + 1..];
                }
                continue;
            }
            self.matched = 0;
            self.noise = *byte != b'\n';
        }
        &[]
    }

    /// Tells whether the command was started.
    pub fn is_started(&self) -> bool {
        self.started
    }
}
