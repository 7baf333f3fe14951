//! Frames: a length and so many bytes, and the greeting with which both sides agree on a version.
//!
//! The other side may be hostile: a frame has a size cap that is checked before anything is allocated, decoding never
//! panics, and a broken frame ends the connection.

use super::message::{Body, Hello, Message};
use super::{VERSION_MAX, VERSION_MIN};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Bytes of one frame: the largest message is a report of `REPORT_BYTES_MAX` and its few fields.
pub const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What the agent prints before its first frame: everything before it is noise of login shells (banners, `.bashrc`).
pub const PREAMBLE: &[u8] = b"\nholdfast-agent wire\n";

/// Bytes of noise that are skipped in search of the preamble: the longest banners seen stay below a tenth of it.
pub const NOISE_BYTES_MAX: usize = 64 * 1024;

/// Why two sides can't talk, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Reading or writing failed, or a frame was cut or too long.
    #[error("the agent connection broke")]
    Io(#[source] io::Error),
    /// A frame holds no message.
    #[error("a frame of {bytes} bytes holds no message of the agent protocol")]
    Malformed {
        /// Its length.
        bytes: usize,
        /// What the decoder says.
        source: prost::DecodeError,
    },
    /// The preamble did not come: there is no agent at the other end.
    #[error("no holdfast-agent answered; the last words were: {last_words:?}")]
    NoPreamble {
        /// The end of what came instead.
        last_words: String,
    },
    /// The first message was something else, or nothing came.
    #[error("the other side did not say hello but {said}; it is no holdfast-agent")]
    NoHello {
        /// What came instead.
        said: &'static str,
    },
    /// No version is spoken by both.
    #[error(
        "no common version of the agent protocol: we speak {VERSION_MIN} to {VERSION_MAX}, \
         the other side {theirs_min} to {theirs_max} (release {release}); update the older of the two"
    )]
    NoCommonVersion {
        /// The other side's oldest.
        theirs_min: u32,
        /// The other side's newest.
        theirs_max: u32,
        /// The other side's release.
        release: String,
    },
}

/// Reads messages.
pub struct WireReader<R>(FramedRead<R, LengthDelimitedCodec>);

/// Writes messages.
pub struct WireWriter<W>(FramedWrite<W, LengthDelimitedCodec>);

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(FRAME_BYTES_MAX)
        .new_codec()
}

/// Skips noise up to and with the preamble, so that the next byte begins a frame.
pub async fn skip_noise<R: AsyncRead + Unpin>(source: &mut R) -> Result<(), WireError> {
    let mut noise = Vec::new();
    // Byte by byte, because what follows the preamble belongs to the frames.
    while noise.len() < NOISE_BYTES_MAX + PREAMBLE.len() {
        match source.read_u8().await {
            Ok(byte) => noise.push(byte),
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(source) => return Err(WireError::Io(source)),
        }
        if noise.ends_with(PREAMBLE) {
            return Ok(());
        }
    }
    let last = noise.len().saturating_sub(200);
    Err(WireError::NoPreamble {
        last_words: String::from_utf8_lossy(&noise[last..]).trim().to_owned(),
    })
}

/// Reads messages from `source`.
pub fn reader<R: AsyncRead + Unpin>(source: R) -> WireReader<R> {
    WireReader(FramedRead::new(source, codec()))
}

/// Writes messages to `sink`.
pub fn writer<W: AsyncWrite + Unpin>(sink: W) -> WireWriter<W> {
    WireWriter(FramedWrite::new(sink, codec()))
}

impl<R: AsyncRead + Unpin> WireReader<R> {
    /// Waits for the next message; `None` at the end of the connection between two frames. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<Option<Message>, WireError> {
        match self.0.next().await {
            None => Ok(None),
            Some(Err(source)) => Err(WireError::Io(source)),
            Some(Ok(frame)) => decode(frame).map(Some),
        }
    }
}

impl<W: AsyncWrite + Unpin> WireWriter<W> {
    /// Writes a message and waits until the carrier took it.
    pub async fn send(&mut self, body: Body) -> Result<(), WireError> {
        let frame = Bytes::from(Message::from(body).encode_to_vec());
        self.0.send(frame).await.map_err(WireError::Io)
    }

    /// Ends the stream: the other side sees the end of the connection.
    pub async fn close(&mut self) -> Result<(), WireError> {
        SinkExt::<Bytes>::close(&mut self.0).await.map_err(WireError::Io)
    }
}

fn decode(frame: BytesMut) -> Result<Message, WireError> {
    let bytes = frame.len();
    Message::decode(frame.freeze()).map_err(|source| WireError::Malformed { bytes, source })
}

/// Says hello, waits for the other's, and gives it with the version in force.
pub async fn greet<R, W>(
    reader: &mut WireReader<R>,
    writer: &mut WireWriter<W>,
    features: &[&str],
) -> Result<(u32, Hello), WireError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    writer
        .send(Body::Hello(Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
        }))
        .await?;
    let hello = match reader.next().await? {
        Some(Message {
            body: Some(Body::Hello(hello)),
            ..
        }) => hello,
        Some(message) => {
            let said = message.body.as_ref().map_or("something unknown", Body::name);
            return Err(WireError::NoHello { said });
        }
        None => return Err(WireError::NoHello { said: "nothing" }),
    };
    Ok((negotiate(&hello)?, hello))
}

/// Finds the highest version that both sides speak.
fn negotiate(theirs: &Hello) -> Result<u32, WireError> {
    let version = VERSION_MAX.min(theirs.version_max);
    if version < VERSION_MIN || version < theirs.version_min {
        return Err(WireError::NoCommonVersion {
            theirs_min: theirs.version_min,
            theirs_max: theirs.version_max,
            release: theirs.release.clone(),
        });
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version_min: u32, version_max: u32) -> Hello {
        Hello {
            version_min,
            version_max,
            ..Hello::default()
        }
    }

    #[test]
    fn the_highest_common_version_is_in_force() {
        assert_eq!(negotiate(&hello(1, 9)).ok(), Some(1));
        assert_eq!(negotiate(&hello(0, 1)).ok(), Some(1));
    }

    #[test]
    fn sides_without_a_common_version_say_so() {
        for (min, max) in [(2, 3), (0, 0), (5, 1)] {
            let refused = negotiate(&hello(min, max)).expect_err("no common version");
            assert!(refused.to_string().contains(&format!("{min} to {max}")), "{refused}");
        }
    }
}
