//! Opens a connection: banner and key exchange over TCP, each with a time limit and an error of its own.

use super::host_keys::HostKeys;
use super::stream::Wire;
use super::{algorithms, dial};
use crate::transport::watch::shown;
use crate::transport::{Target, TransportError};
use russh::client::{self, ChannelOpenHandle, DisconnectReason, Handle, Msg};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelOpenFailure, SshId};
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// Keepalives every 15 s, and 3 of them unanswered, find a dead connection within a minute without waking a
/// fleet too often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_UNANSWERED_MAX: usize = 3;

/// Ends a connection whose task was forgotten. Above the handshake and login limits of 60 s each, so that these
/// speak first; keepalives hold a living connection.
const INACTIVITY_TIMEOUT: Duration = Duration::from_secs(150);

/// Messages waiting per channel: 8 of 32 KiB are as fast as 100, at a fifth of the memory.
const CHANNEL_BUFFER_MESSAGES: usize = 8;

/// The window that the server may fill: with 1 MiB, 100 MB/s pass at 10 ms round trip, and a host that does not
/// stop sending costs no more.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// The task of a connection that is closed only has to be scheduled.
const TASK_END_TIMEOUT: Duration = Duration::from_secs(2);

/// What sshd says in place of its banner when it takes no more logins: for its limit, and (since 9.8) also for what
/// it holds against our address.
const FULL_SERVER: [&[u8]; 2] = [b"Exceeded MaxStartups", b"Not allowed at this time"];

/// A banner of another protocol is known by its first words (`HTTP/1.1 400 Bad Request`, `220 mail ESMTP`).
const FIRST_WORDS_CHARS_MAX: usize = 32;

/// A connection whose key exchange is done.
pub(super) struct Connected {
    pub(super) handle: Handle<Client>,
    pub(super) wire: Wire,
    pub(super) goodbye: Goodbye,
    pub(super) address: SocketAddr,
}

impl Connected {
    /// Says why the connection ended, if it has and russh's task knows. A closed one's task ends at once.
    pub(super) async fn why_it_ended(&mut self) -> Option<String> {
        if !self.handle.is_closed() {
            return None;
        }
        match timeout(TASK_END_TIMEOUT, &mut self.handle).await {
            Ok(Err(ClientError::Russh(error))) => Some(error.to_string()),
            Ok(Err(ClientError::Ours(error))) => Some(error.to_string()),
            Ok(Ok(())) | Err(_) => None,
        }
    }
}

/// What the server said when it ended the connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Goodbye(Arc<Mutex<Option<String>>>);

impl Goodbye {
    fn set(&self, text: String) {
        if let Ok(mut slot) = self.0.lock() {
            *slot = Some(text);
        }
    }

    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().ok().and_then(|slot| slot.clone())
    }
}

/// An error inside russh's task: its own, or our verdict on the host key.
#[derive(Debug)]
pub(super) enum ClientError {
    Russh(russh::Error),
    Ours(Box<TransportError>),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> Self {
        Self::Russh(error)
    }
}

/// Our side of what a server may ask for: it may show its key, and open nothing.
pub(super) struct Client {
    host_keys: HostKeys,
    goodbye: Goodbye,
}

/// Refuses a channel that a server wants to open: Holdfast forwards no ports, no X11 and never an ssh-agent.
async fn refuse(reply: ChannelOpenHandle) -> Result<(), ClientError> {
    reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    Ok(())
}

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, ClientError> {
        match self.host_keys.check(&shown.public_key()).await {
            Ok(()) => Ok(true),
            Err(error) => Err(ClientError::Ours(Box::new(error))),
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<ClientError>) -> Result<(), ClientError> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.goodbye.set(shown(&info.message));
                Ok(())
            }
            DisconnectReason::Error(error) => Err(error),
        }
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        refuse(reply).await
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        refuse(reply).await
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        refuse(reply).await
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        refuse(reply).await
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), ClientError> {
        refuse(reply).await
    }
}

/// Shows the beginning of what something that is no SSH server says: enough to know it, on one line.
fn shown_short(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line = text.lines().next().unwrap_or_default();
    let mut beginning: String = line.chars().take(FIRST_WORDS_CHARS_MAX).collect();
    if beginning.len() < text.trim_end().len() {
        beginning.push_str("...");
    }
    shown(&beginning)
}

/// Connects and does the key exchange. Whoever opens sessions decides what is tried again.
pub(super) async fn connect(target: &Target, host_keys: &HostKeys) -> Result<Connected, TransportError> {
    let (tcp, address) = dial::connect(target).await?;
    handshake(target, host_keys, tcp, address).await
}

async fn handshake(
    target: &Target,
    host_keys: &HostKeys,
    tcp: TcpStream,
    address: SocketAddr,
) -> Result<Connected, TransportError> {
    let wire = Wire::default();
    let goodbye = Goodbye::default();
    let client = Client {
        host_keys: host_keys.clone(),
        goodbye: goodbye.clone(),
    };
    let deadline = Instant::now() + target.timeouts.handshake;
    let opening = client::connect_stream(Arc::new(config(host_keys)), wire.wrap(tcp), client);
    match timeout_at(deadline, opening).await {
        Ok(Ok(handle)) => Ok(Connected {
            handle,
            wire,
            goodbye,
            address,
        }),
        Ok(Err(error)) => {
            wire.cut();
            Err(explain(address, error, &wire, &goodbye))
        }
        Err(_) => {
            // russh's task, if it was started, ends with its stream.
            wire.cut();
            Err(TransportError::HandshakeTimeout {
                address: address.to_string(),
                after: target.timeouts.handshake,
            })
        }
    }
}

fn config(host_keys: &HostKeys) -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-Holdfast_", env!("CARGO_PKG_VERSION")))),
        window_size: WINDOW_BYTES,
        channel_buffer_size: CHANNEL_BUFFER_MESSAGES,
        preferred: algorithms::modern(&host_keys.known_algorithms()),
        inactivity_timeout: Some(INACTIVITY_TIMEOUT),
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_UNANSWERED_MAX,
        gex: client::GexParams::new(2048, 2048, 8192).expect("2048 is the least that russh allows"),
        nodelay: true,
        ..client::Config::default()
    }
}

fn explain(address: SocketAddr, error: ClientError, wire: &Wire, goodbye: &Goodbye) -> TransportError {
    let error = match error {
        ClientError::Ours(error) => return *error,
        ClientError::Russh(error) => error,
    };
    let address = address.to_string();
    let first_words = wire.first_words();
    let full = FULL_SERVER.iter().any(|words| first_words.starts_with(words));
    let dropped = match &error {
        russh::Error::Disconnect | russh::Error::HUP => true,
        russh::Error::IO(source) => matches!(
            source.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ),
        _ => false,
    };
    let detail = match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            return TransportError::Negotiation {
                address,
                what: match kind {
                    russh::AlgorithmKind::Kex => "key exchange",
                    russh::AlgorithmKind::Key => "type of host key",
                    russh::AlgorithmKind::Cipher => "cipher",
                    russh::AlgorithmKind::Compression => "compression",
                    russh::AlgorithmKind::Mac => "MAC",
                }
                .to_owned(),
                theirs: theirs.iter().map(|name| shown(name)).collect(),
            };
        }
        russh::Error::Join(error) => {
            return TransportError::Panicked {
                detail: error.to_string(),
            };
        }
        _ if dropped && goodbye.get().is_some() => goodbye.get().unwrap_or_default(),
        _ if dropped && first_words.is_empty() => "it closed the connection without a word".to_owned(),
        _ if !first_words.is_empty() && !first_words.starts_with(b"SSH-") => {
            format!("it said \"{}\"", shown_short(&first_words))
        }
        _ if dropped => "it closed the connection".to_owned(),
        other => other.to_string(),
    };
    // Something else than SSH stays something else; a server that was on the way may be there in a moment.
    if full || dropped && (first_words.is_empty() || first_words.starts_with(b"SSH-")) {
        TransportError::Dropped { address, detail }
    } else {
        TransportError::NotSsh { address, detail }
    }
}
