//! The wire protocol between a controller and an agent: messages, frames and the agreement on a version.
//!
//! ```text
//! carrier (SSH exec channel, later a dialled connection)
//!   `- frame    u32 big-endian length + so many bytes, at most FRAME_BYTES_MAX     frame.rs
//!        `- Message   protobuf, unknown fields and unknown bodies are tolerated    message.rs
//! ```
//!
//! The agent prints [`PREAMBLE`] before its first frame, because a login shell may have printed before it. Both sides send [`Hello`] first and wait for the other's; the version in force is the highest that
//! both speak. After that the controller asks and the agent answers; both may ping.
//!
//! It does not authenticate: the carrier does (SSH, in either direction). It does not know what a program means.

mod frame;
mod message;

pub use frame::{
    FRAME_BYTES_MAX, NOISE_BYTES_MAX, PREAMBLE, WireError, WireReader, WireWriter, greet, reader, skip_noise, writer,
};
pub use message::{
    Ack, Acked, Body, Collect, CollectEnd, Exec, Exit, Failure, FailureKind, GetStatus, Hello, Message, Order, Output,
    Ping, Pong, ProbesStatus, Report, ReportKind, SetProbes, Status, Stdin, Stream, Window,
};

/// The oldest version of the protocol that this build speaks.
pub const VERSION_MIN: u32 = 1;

/// The newest version of the protocol that this build speaks.
pub const VERSION_MAX: u32 = 1;

/// Bytes of standard input or output in one message: four pipe buffers' worth fills a fast link, and a ping waits
/// behind no more than this.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Bytes of output that may be on the way without the receiver having granted more: with a round trip of 20 ms this
/// allows 25 MB/s, and it is all that a command's output can occupy on either side.
pub const WINDOW_BYTES: u64 = 512 * 1024;

/// Bytes of a program for [`SetProbes`]: a blueprint of 1,000 resources stays below half of it.
pub const PROBES_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one report: a host's old texts are capped at 1 MiB (design page 0001), and attributes need less again.
pub const REPORT_BYTES_MAX: usize = 2 * 1024 * 1024 - 16 * 1024;
