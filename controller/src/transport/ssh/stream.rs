//! The TCP stream below russh, with two things that russh lacks: a cut that ends the connection at once from
//! outside, and a limit on what a server may send before the login.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Banner, key exchange and login of a talkative server stay below 50 kB; a server that sends this much before
/// the login only wants to keep us busy.
const BYTES_BEFORE_LOGIN_MAX: usize = 1024 * 1024;

/// So much of a server's first words is kept for the message that it is no SSH server.
const FIRST_WORDS_BYTES: usize = 80;

/// What we hold of a connection while russh owns its stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Wire {
    cut: CancellationToken,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    logged_in: AtomicBool,
    first_words: Mutex<Vec<u8>>,
}

impl Wire {
    /// Ends the connection: every read and write of it fails from now on, and its task ends.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Lifts the limit on what the server may send.
    pub(super) fn logged_in(&self) {
        self.shared.logged_in.store(true, Ordering::Relaxed);
    }

    /// Shows how the server began to talk.
    pub(super) fn first_words(&self) -> Vec<u8> {
        self.shared
            .first_words
            .lock()
            .map(|words| words.clone())
            .unwrap_or_default()
    }

    /// Wraps a stream.
    pub(super) fn wrap(&self, tcp: TcpStream) -> WireStream {
        WireStream {
            tcp,
            cancelled: Box::pin(self.cut.clone().cancelled_owned()),
            wire: self.clone(),
            before_login_bytes: 0,
        }
    }
}

pub(super) struct WireStream {
    tcp: TcpStream,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    wire: Wire,
    before_login_bytes: usize,
}

impl WireStream {
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cancelled.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "given up by Holdfast")),
            Poll::Pending => Ok(()),
        }
    }

    fn note(&mut self, read: &[u8]) -> io::Result<()> {
        if self.wire.shared.logged_in.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.before_login_bytes < FIRST_WORDS_BYTES
            && let Ok(mut words) = self.wire.shared.first_words.lock()
        {
            let room = FIRST_WORDS_BYTES - words.len().min(FIRST_WORDS_BYTES);
            words.extend_from_slice(&read[..read.len().min(room)]);
        }
        self.before_login_bytes += read.len();
        if self.before_login_bytes > BYTES_BEFORE_LOGIN_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the server sent more than 1 MiB before the login",
            ));
        }
        Ok(())
    }
}

impl AsyncRead for WireStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        let before = buf.filled().len();
        match Pin::new(&mut self.tcp).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(self.note(&buf.filled()[before..])),
            other => other,
        }
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
