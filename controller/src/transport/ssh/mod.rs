//! SSH by russh: the only place, with the embedded server of the demo, that knows that library.
//!
//! One connection per host, one channel at a time. russh drives each connection in a task of its own; what it or
//! a hostile server breaks there ends that host's session and nothing else.

mod algorithms;
mod auth;
mod books;
mod connect;
mod dial;
mod exec;
mod host_keys;
mod identities;
mod known_hosts;
mod memory;
mod stream;

use super::patience::Wait;
use super::watch::Watch;
use super::{Become, Context, ExecEnd, ExecStream, Handler, Patience, Session, Target, Traffic, TransportError};
use connect::{Client, ClientError, Goodbye};
use exec::Trouble;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use russh::Disconnect;
use russh::client::Handle;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use stream::Wire;
use tokio::time::timeout;

pub(crate) use known_hosts::line as known_hosts_line;
pub(crate) use memory::Memory;

/// A goodbye is a courtesy; a server that does not take it is cut off.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Opening a channel for a stream has no deadline of its own.
const STREAM_OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// What we were doing on a connection that was lost in an earlier exec.
const DEAD: &str = "using a connection again";

/// An open connection, logged in.
struct SshSession {
    /// `None` after the connection was lost.
    handle: Option<Handle<Client>>,
    wire: Wire,
    goodbye: Goodbye,
    r#become: Become,
    traffic: Traffic,
}

impl Drop for SshSession {
    fn drop(&mut self) {
        self.wire.cut();
    }
}

/// Connects and logs in.
pub(super) async fn connect(target: &Target, context: &Context) -> Result<Box<dyn Session>, TransportError> {
    contain(open(target, context)).await
}

async fn open(target: &Target, context: &Context) -> Result<Box<dyn Session>, TransportError> {
    let host_keys = host_keys::HostKeys::load(target, context).await?;
    let credentials = auth::Credentials::load(target, context).await?;
    let mut connected = connect::connect(target, &host_keys).await?;
    let logged_in = auth::log_in(&mut connected, &credentials, target).await;
    let round_trips = match logged_in {
        Ok(round_trips) => round_trips,
        Err(error) => {
            connected.wire.cut();
            return Err(error);
        }
    };
    connected.wire.logged_in();
    Ok(Box::new(SshSession {
        handle: Some(connected.handle),
        wire: connected.wire,
        goodbye: connected.goodbye,
        r#become: target.r#become,
        traffic: Traffic {
            connections: 1,
            // TCP, banner and key exchange, the request for the login service.
            round_trips: 4 + round_trips,
            ..Traffic::default()
        },
    }))
}

/// Turns a panic of our own code into an error of this host.
async fn contain<T>(work: impl Future<Output = Result<T, TransportError>>) -> Result<T, TransportError> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let detail = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "a panic without a message".to_owned());
            Err(TransportError::Panicked { detail })
        }
    }
}

impl SshSession {
    async fn run_program(
        &mut self,
        program: Vec<u8>,
        handler: &mut dyn Handler,
        patience: Patience,
    ) -> Result<ExecEnd, TransportError> {
        let wait = Wait::begin(patience);
        let again = self.traffic.execs > 0;
        self.traffic.execs += 1;
        self.traffic.round_trips += 2;
        let opened = match &self.handle {
            Some(handle) => exec::open(handle, self.r#become.shell(), again, &wait).await,
            None => Err(Trouble::Lost { during: DEAD }),
        };
        let channel = match opened {
            Ok(channel) => channel,
            Err(trouble) => return Err(self.explain(trouble, &wait).await),
        };
        let mut watch = Watch::new(handler);
        let program_bytes = program.len() as u64;
        let (result, sent) = exec::run(channel, program, &mut watch, &wait).await;
        self.traffic.bytes_out += sent;
        self.traffic.bytes_in += watch.bytes_in();
        if sent > program_bytes {
            self.traffic.round_trips += 1;
        }
        match result {
            Ok(end) => watch.judge(end, self.r#become),
            Err(trouble) => Err(self.explain(trouble, &wait).await),
        }
    }

    async fn start_stream(&mut self, command: &str) -> Result<ExecStream, TransportError> {
        let wait = Wait::begin(Patience::of(STREAM_OPEN_TIMEOUT));
        let again = self.traffic.execs > 0;
        self.traffic.execs += 1;
        self.traffic.round_trips += 2;
        let command = match self.r#become {
            Become::No => command.to_owned(),
            Become::Sudo => format!("sudo -n {command}"),
        };
        let opened = match &self.handle {
            Some(handle) => exec::open(handle, &command, again, &wait).await,
            None => Err(Trouble::Lost { during: DEAD }),
        };
        match opened {
            Ok(channel) => Ok(exec::stream(channel)),
            Err(trouble) => Err(self.explain(trouble, &wait).await),
        }
    }

    async fn explain(&mut self, trouble: Trouble, wait: &Wait) -> TransportError {
        match trouble {
            Trouble::Failed(error) => error,
            Trouble::WaitOver { usable } => {
                if !usable {
                    self.wire.cut();
                }
                wait.error()
            }
            Trouble::Lost { during } => {
                self.wire.cut();
                let Some(handle) = self.handle.take() else {
                    return TransportError::ConnectionLost {
                        during,
                        detail: "it ended before".to_owned(),
                    };
                };
                let detail = match timeout(GOODBYE_TIMEOUT, handle).await {
                    Ok(Err(ClientError::Russh(russh::Error::Join(error)))) => {
                        return TransportError::Panicked {
                            detail: error.to_string(),
                        };
                    }
                    _ if self.goodbye.get().is_some() => self.goodbye.get().unwrap_or_default(),
                    Ok(Err(ClientError::Russh(russh::Error::KeepaliveTimeout))) => {
                        "the host no longer answers".to_owned()
                    }
                    Ok(Err(ClientError::Russh(error))) => error.to_string(),
                    Ok(Err(ClientError::Ours(error))) => return *error,
                    Ok(Ok(())) | Err(_) => "the server closed it".to_owned(),
                };
                TransportError::ConnectionLost { during, detail }
            }
        }
    }
}

impl Session for SshSession {
    fn run<'a>(
        &'a mut self,
        program: Vec<u8>,
        handler: &'a mut dyn Handler,
        patience: Patience,
    ) -> BoxFuture<'a, Result<ExecEnd, TransportError>> {
        Box::pin(contain(self.run_program(program, handler, patience)))
    }

    fn open_stream<'a>(&'a mut self, command: &'a str) -> BoxFuture<'a, Result<ExecStream, TransportError>> {
        Box::pin(contain(self.start_stream(command)))
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // Every failure here means that the connection is gone, which is what we want.
            if let Some(handle) = self.handle.take() {
                let _ = timeout(GOODBYE_TIMEOUT, async {
                    let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
                    let _ = handle.await;
                })
                .await;
            }
        })
    }
}
