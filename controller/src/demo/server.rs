//! SSH hosts inside this process: each with its own port, host key and folder, running the real `/bin/sh`.
//!
//! They exist so that the demo and the tests go through the whole SSH path without root and without an sshd.
//! Each accepts one public key, runs `exec` requests and nothing else: no shell, no pty, no forwarding.

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, MethodKind, MethodSet, SshId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// A connection of a controller that vanished is dropped after this time.
const INACTIVITY_TIMEOUT: Duration = Duration::from_secs(300);

/// Handshake and login take milliseconds here; whoever takes longer is no controller of ours.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections that one host serves at a time; the controller needs one.
const CONNECTIONS_MAX: usize = 16;

/// Channels that one connection may have open, as sshd's MaxSessions.
const SESSIONS_MAX: usize = 10;

/// Messages waiting per channel: backpressure reaches the client early.
const CHANNEL_BUFFER_MESSAGES: usize = 8;

/// One packet.
const CHUNK_BYTES: usize = 32 * 1024;

/// After the process ended, output that a background child holds open is read until it pauses this long.
const DRAIN_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long the client may take to answer CLOSE; until then what was sent before it is not forgotten.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// After a failed accept (no descriptor left) a pause lets others free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// SSH_EXTENDED_DATA_STDERR of RFC 4254.
const STDERR: u32 = 1;

/// One running host.
#[derive(Debug, Clone)]
pub struct DemoHost {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its own folder: home and working folder of everything it runs.
    pub root: PathBuf,
    /// Its line for a known_hosts file, with the newline.
    pub known_hosts_line: String,
}

/// Running hosts; dropping it closes their ports and connections. Jobs that were detached live on.
#[derive(Debug)]
pub struct DemoHosts {
    /// The hosts, in the order asked for.
    pub hosts: Vec<DemoHost>,
    _tasks: JoinSet<()>,
}

/// A key pair for the controller of a demo.
#[derive(Debug, Clone)]
pub struct DemoKey {
    /// The file with the private key (0600).
    pub private: PathBuf,
    /// The public key as authorized_keys has it.
    pub public: String,
}

impl DemoKey {
    /// Makes an ed25519 key pair and writes the private one; a file that is there is used again.
    pub fn create(path: &Path) -> io::Result<Self> {
        let key = match std::fs::read_to_string(path) {
            Ok(text) => PrivateKey::from_openssh(text).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = generate()?;
                let text = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
                let mut file = std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)?;
                file.write_all(text.as_bytes())?;
                key
            }
            Err(error) => return Err(error),
        };
        let public = key.public_key().to_openssh().map_err(io::Error::other)?;
        Ok(Self {
            private: path.to_path_buf(),
            public,
        })
    }
}

fn generate() -> io::Result<PrivateKey> {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).map_err(io::Error::other)
}

impl DemoHosts {
    /// Starts a host per name, with `folder/NAME` as its own folder; all accept `client_key` (as
    /// authorized_keys has it) for any user.
    pub async fn start(folder: &Path, names: &[String], client_key: &str) -> io::Result<Self> {
        let client_key = Arc::new(PublicKey::from_openssh(client_key).map_err(io::Error::other)?);
        let mut tasks = JoinSet::new();
        let mut hosts = Vec::new();
        for name in names {
            let root = folder.join(name);
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&root)?;
            let root = root.canonicalize()?;
            let host_key = generate()?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            let known_hosts_line =
                crate::transport::known_hosts_line(&address.ip().to_string(), address.port(), host_key.public_key())?;
            hosts.push(DemoHost {
                name: name.clone(),
                address,
                root: root.clone(),
                known_hosts_line,
            });
            tasks.spawn(serve(
                listener,
                Arc::new(config(host_key)),
                Arc::clone(&client_key),
                root,
            ));
        }
        Ok(Self { hosts, _tasks: tasks })
    }
}

fn config(host_key: PrivateKey) -> server::Config {
    server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-HoldfastDemo")),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        channel_buffer_size: CHANNEL_BUFFER_MESSAGES,
        inactivity_timeout: Some(INACTIVITY_TIMEOUT),
        nodelay: true,
        ..server::Config::default()
    }
}

async fn serve(listener: TcpListener, config: Arc<server::Config>, client_key: Arc<PublicKey>, root: PathBuf) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let tcp = match listener.accept().await {
            Ok((tcp, _)) if connections.len() < CONNECTIONS_MAX => tcp,
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!(%error, "a demo host can't accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let host = Host {
            client_key: Arc::clone(&client_key),
            root: root.clone(),
            channels: HashMap::new(),
        };
        connections.spawn(connection(tcp, Arc::clone(&config), host));
    }
}

async fn connection(tcp: TcpStream, config: Arc<server::Config>, host: Host) {
    // A socket without it is slower, not wrong.
    let _ = tcp.set_nodelay(true);
    match timeout(LOGIN_TIMEOUT, server::run_stream(config, tcp, host)).await {
        Ok(Ok(session)) => {
            if let Err(error) = session.await {
                tracing::debug!(%error, "a connection of a demo host ended");
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, "a demo host refused a connection"),
        Err(_) => tracing::debug!("a demo host gave up on a connection"),
    }
}

/// The server's side of one connection.
struct Host {
    client_key: Arc<PublicKey>,
    root: PathBuf,
    /// Channels that wait for their exec request.
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Host {
    fn knows(&self, key: &PublicKey) -> Auth {
        if key.key_data() == self.client_key.key_data() {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }
}

impl server::Handler for Host {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        Ok(self.knows(offer.public_key))
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.knows(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // Channels that run something have left the map; a client that opens many without an exec is refused.
        if self.channels.len() < SESSIONS_MAX {
            self.channels.insert(channel.id(), channel);
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&id) else {
            return session.channel_failure(id);
        };
        match spawn(&self.root, command) {
            Ok(child) => {
                session.channel_success(id)?;
                // Never here: the session could not serve the channel while we wait for it.
                tokio::spawn(run(channel, child));
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "a demo host can't start a shell");
                session.channel_failure(id)
            }
        }
    }
}

fn spawn(root: &Path, command: &[u8]) -> io::Result<Child> {
    use std::os::unix::ffi::OsStrExt;
    Command::new("/bin/sh")
        .arg("-c")
        .arg(std::ffi::OsStr::from_bytes(command))
        .env_clear()
        .env("HOME", root)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("SHELL", "/bin/sh")
        .env("USER", "demo")
        .env("LOGNAME", "demo")
        .current_dir(root)
        // As under sshd, a signal to the demo's terminal is none of the host's business.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Carries one process: stdin in, both outputs out with the client's window as the brake, then EOF, the exit
/// status and CLOSE, in this order.
async fn run(channel: Channel<Msg>, mut child: Child) {
    let (mut read, write) = channel.split();
    let mut stdin = child.stdin.take();
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let inward = async {
        // Read to the end even if nobody takes the data: an unread channel would hold up the whole connection.
        while let Some(message) = read.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    if let Some(pipe) = &mut stdin
                        && pipe.write_all(&data).await.is_err()
                    {
                        stdin = None;
                    }
                }
                ChannelMsg::Eof => stdin = None,
                ChannelMsg::Close => break,
                _ => {}
            }
        }
    };
    let outward = async {
        let mut end = None;
        let (mut out, mut err) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let mut last = Instant::now();
        while end.is_none() || stdout.is_some() || stderr.is_some() {
            let sent = tokio::select! {
                count = next(&mut stdout, &mut out) => match count {
                    Some(count) => write.data_bytes(out[..count].to_vec()).await,
                    None => Ok(()),
                },
                count = next(&mut stderr, &mut err) => match count {
                    Some(count) => write.extended_data_bytes(STDERR, err[..count].to_vec()).await,
                    None => Ok(()),
                },
                status = child.wait(), if end.is_none() => {
                    end = status.ok();
                    Ok(())
                }
                () = sleep_until(last + DRAIN_PAUSE_MAX), if end.is_some() => break,
            };
            last = Instant::now();
            if sent.is_err() {
                return;
            }
        }
        let status = end.map_or(255, |status| {
            // As a shell reports a signal.
            status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
        });
        let _ = write.eof().await;
        let _ = write.exit_status(u32::try_from(status).unwrap_or(255)).await;
        let _ = write.close().await;
        // russh may forget what it has not sent when the channel goes; the client's CLOSE says that all arrived.
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
}

async fn next(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> Option<usize> {
    match pipe {
        Some(open) => match open.read(buffer).await {
            Ok(0) | Err(_) => {
                *pipe = None;
                None
            }
            Ok(count) => Some(count),
        },
        None => std::future::pending().await,
    }
}
