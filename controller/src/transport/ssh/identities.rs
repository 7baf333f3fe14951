//! Key files and ssh-agents: each is read once, however many hosts are logged in to with it.
//!
//! ```text
//! files     path -> key | protected | missing | unusable     read at the first host that names it
//! agents    socket -> one connection, one signature at a time
//! ```
//!
//! An ssh-agent serves one request at a time whatever we do, and its queue of connections is short (128 on Linux): a
//! connection for each of 500 hosts is refused at random. So there is one, and hosts queue for it here.

use super::memory::Table;
use crate::transport::Context;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex as StdMutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, sleep, timeout};

/// No private key file is larger.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// A local socket answers at once or is stuck.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// A key that asks a person for a touch takes as long as people do.
const SIGN_TIMEOUT: Duration = Duration::from_secs(60);

/// While other programs fill the agent's queue, it is tried again after this pause, until `AGENT_TIMEOUT`.
const AGENT_PAUSE: Duration = Duration::from_millis(50);

/// What a key file holds.
#[derive(Debug, Clone)]
pub(super) enum Loaded {
    Key(Arc<PrivateKey>),
    /// It is under a passphrase; with its public half where the file shows it.
    Locked(Option<Arc<PublicKey>>),
    Missing,
    Unusable(Arc<str>),
}

/// Everything read so far.
#[derive(Debug, Default)]
pub(super) struct Identities {
    files: Table<PathBuf, OnceCell<Loaded>>,
    agents: Table<PathBuf, Agent>,
}

impl Identities {
    /// Reads a key file, unless it was read before. `~` is the user's home.
    pub(super) async fn file(&self, path: &Path, context: &Context) -> Loaded {
        let path = expand_home(path, context);
        let place = self.files.get(path.clone());
        place.get_or_init(|| load(path)).await.clone()
    }

    /// Gives the agent behind a socket.
    pub(super) fn agent(&self, socket: &Path) -> Arc<Agent> {
        self.agents.get(socket.to_path_buf())
    }
}

fn expand_home(path: &Path, context: &Context) -> PathBuf {
    match (path.strip_prefix("~"), &context.home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_path_buf(),
    }
}

async fn load(path: PathBuf) -> Loaded {
    let unusable = |reason: &str| Loaded::Unusable(reason.into());
    match tokio::fs::metadata(&path).await {
        Ok(meta) if meta.is_dir() => return unusable("it is a directory"),
        Ok(meta) if meta.len() > KEY_FILE_BYTES_MAX => return unusable("it is too large for a key"),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Loaded::Missing,
        Err(error) => return unusable(&error.to_string()),
    }
    let text = match tokio::fs::read_to_string(&path).await {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(error) => return unusable(&error.to_string()),
    };
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return unusable("it is a public key; name the private one (without .pub)");
    }
    if let Ok(key) = PrivateKey::from_openssh(text.as_bytes())
        && key.is_encrypted()
    {
        return Loaded::Locked(Some(Arc::new(key.public_key().clone())));
    }
    if text.contains("ENCRYPTED") {
        return Loaded::Locked(None);
    }
    match russh::keys::decode_secret_key(&text, None) {
        Ok(key) => Loaded::Key(Arc::new(key)),
        Err(russh::keys::Error::KeyIsEncrypted) => Loaded::Locked(None),
        Err(error) => unusable(&error.to_string()),
    }
}

/// A key that an agent holds.
#[derive(Debug, Clone)]
pub(super) struct AgentKey {
    pub(super) comment: String,
    pub(super) public: PublicKey,
}

/// One ssh-agent: its list of keys, asked for once, and one connection, used by one login at a time.
#[derive(Debug, Default)]
pub(super) struct Agent {
    keys: OnceCell<Result<Vec<AgentKey>, String>>,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    client: Option<AgentClient<UnixStream>>,
    /// It let a signature wait for `SIGN_TIMEOUT`: the next hosts would wait as long, one after the other.
    stuck: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("open", &self.client.is_some())
            .field("stuck", &self.stuck)
            .finish()
    }
}

impl Agent {
    /// Lists the agent's keys, or says why it can't be used.
    pub(super) async fn keys(&self, socket: &Path) -> Result<&[AgentKey], &str> {
        let listed = self.keys.get_or_init(|| self.list(socket)).await;
        listed.as_deref().map_err(String::as_str)
    }

    async fn list(&self, socket: &Path) -> Result<Vec<AgentKey>, String> {
        let mut connection = self.connection.lock().await;
        let asked = timeout(AGENT_TIMEOUT, async {
            let mut client = dial(socket).await?;
            let identities = client.request_identities().await?;
            Ok::<_, russh::keys::Error>((client, identities))
        });
        let (client, identities) = match asked.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no answer within {} s", AGENT_TIMEOUT.as_secs())),
        };
        connection.client = Some(client);
        Ok(identities
            .into_iter()
            .filter_map(|identity| match identity {
                AgentIdentity::PublicKey { key, comment } => Some(AgentKey { comment, public: key }),
                AgentIdentity::Certificate { .. } => None,
            })
            .collect())
    }

    /// Signs; waits for its turn, and tells `queue` how long. An agent that was started anew is connected to again.
    pub(super) async fn sign(
        &self,
        socket: &Path,
        queue: &Queue,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, russh::keys::Error> {
        let mut connection = {
            let _waiting = queue.enter();
            self.connection.lock().await
        };
        let stuck = || io::Error::new(io::ErrorKind::TimedOut, "it lets signatures wait");
        if connection.stuck {
            return Err(stuck().into());
        }
        // Taken out: a login that is given up in the middle leaves an answer in the stream that is not the next one's.
        let kept = connection.client.take();
        let was_kept = kept.is_some();
        let asking = async {
            let mut client = match kept {
                Some(client) => client,
                None => dial(socket).await?,
            };
            let answer = client.sign_request(key, hash, data.clone()).await;
            if let (Err(russh::keys::Error::IO(_)), true) = (&answer, was_kept) {
                client = dial(socket).await?;
                let answer = client.sign_request(key, hash, data).await;
                return Ok((client, answer));
            }
            Ok::<_, russh::keys::Error>((client, answer))
        };
        match timeout(SIGN_TIMEOUT, asking).await {
            Ok(Ok((client, answer))) => {
                if !matches!(answer, Err(russh::keys::Error::IO(_))) {
                    connection.client = Some(client);
                }
                answer
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                connection.stuck = true;
                Err(stuck().into())
            }
        }
    }
}

/// Connects; a full queue is waited out.
async fn dial(socket: &Path) -> Result<AgentClient<UnixStream>, io::Error> {
    let until = Instant::now() + AGENT_TIMEOUT;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(AgentClient::connect(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                sleep(AGENT_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// How long a login waited for others to be signed for: that is our time, not the server's.
#[derive(Debug, Default)]
pub(super) struct Queue(StdMutex<(Duration, Option<Instant>)>);

struct Waiting<'a>(&'a Queue);

impl Queue {
    fn enter(&self) -> Waiting<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(Instant::now());
        Waiting(self)
    }

    /// The time until now.
    pub(super) fn waited(&self) -> Duration {
        let (sum, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sum + since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = inner.1.take() {
            inner.0 += since.elapsed();
        }
    }
}
