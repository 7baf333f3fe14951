//! Why a reply is not read on.

use super::{BLOB_BYTES_MAX, LINE_BYTES_MAX, REPLY_BYTES_MAX};

/// A reply breaks the protocol or its limits: nothing more is read from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line is too long.
    #[error("a line of the host's reply is longer than {LINE_BYTES_MAX} bytes")]
    Line,
    /// A blob is too long.
    #[error("the host announced a blob of {announced} bytes; the limit is {BLOB_BYTES_MAX}")]
    Blob {
        /// So many bytes.
        announced: u64,
    },
    /// There is more of a kind than a host has.
    #[error("the host's reply has more than {max} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The reply is too long.
    #[error("the host's reply is longer than {REPLY_BYTES_MAX} bytes")]
    Reply,
    /// A blob is announced or ended in a way that does not tell where the next line begins.
    #[error("the host's reply has a blob whose end can't be told: `{line}`")]
    Malformed {
        /// The line without the nonce, at most 200 characters, control characters escaped.
        line: String,
    },
}
