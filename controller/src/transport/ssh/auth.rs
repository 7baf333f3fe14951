//! Logs in: keys of the ssh-agent and of files, then the password, also by keyboard-interactive. Everything that
//! can be wrong on this machine is found before the host is contacted, and a refusal is final.
//!
//! A key that can't be used here (the agent does not sign, the server wants SHA-1) is passed over; only what the
//! server says decides which methods are left.

use super::algorithms::is_rsa;
use super::connect::{Client, Connected};
use super::identities::{Agent, Loaded, Queue};
use crate::transport::{Context, Target, TransportError};
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The default identities, in the order in which they are tried.
const DEFAULT_IDENTITIES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// sshd's MaxAuthTries is 6 by default: five keys of the agent leave a try for the password.
const AGENT_KEYS_MAX: usize = 5;

/// PAM stacks ask two or three times; more is a server that plays for time.
const INTERACTIVE_ROUNDS_MAX: usize = 8;

/// Everything there is to log in with.
pub(super) struct Credentials {
    user: String,
    keys: Vec<Key>,
    password: Option<SecretString>,
    /// The agent's socket, if any of the keys is in there.
    socket: PathBuf,
    /// Protected keys that were named in the inventory and are not in the agent.
    locked: Vec<PathBuf>,
}

/// A key to offer.
struct Key {
    label: String,
    public: PublicKey,
    by: SignedBy,
}

enum SignedBy {
    Us(Arc<PrivateKey>),
    Agent(Arc<Agent>),
}

/// A key file under a passphrase, with its public half where the file shows it.
type LockedKey = (PathBuf, Option<Arc<PublicKey>>);

impl Credentials {
    /// Collects what the target and this machine offer.
    pub(super) async fn load(target: &Target, context: &Context) -> Result<Self, TransportError> {
        let named = !target.identities.is_empty();
        let paths = if named {
            target.identities.clone()
        } else {
            default_identities(context)
        };
        let password = password(target, context)?;
        let mut files: Vec<Key> = Vec::new();
        let mut locked: Vec<LockedKey> = Vec::new();
        for path in paths {
            let reason = match context.memory.ssh.identities.file(&path, context).await {
                Loaded::Key(key) => {
                    files.push(Key {
                        label: format!("key {}", path.display()),
                        public: key.public_key().clone(),
                        by: SignedBy::Us(key),
                    });
                    continue;
                }
                Loaded::Locked(public) => {
                    locked.push((path, public));
                    continue;
                }
                Loaded::Missing if !named => continue,
                Loaded::Missing => "there is no such file".to_owned(),
                Loaded::Unusable(reason) => reason.as_ref().to_owned(),
            };
            let error = TransportError::Identity { path, reason };
            if named {
                return Err(error);
            }
            tracing::warn!(%error, "skipped a default key");
        }
        // With identities named, the agent serves only for those of them that are protected: offering all of its
        // keys would use up the server's patience before the right one.
        let mut keys = Vec::new();
        if !named || !locked.is_empty() {
            let only = named.then_some(locked.as_slice());
            let alone = files.is_empty() && password.is_none();
            keys = agent_keys(context, only, alone).await?;
        }
        locked.retain(|(_, public)| !public.as_ref().is_some_and(|public| holds(&keys, public)));
        keys.extend(files);
        if keys.is_empty() && password.is_none() {
            return Err(match locked.first() {
                Some((path, _)) => TransportError::IdentityEncrypted { path: path.clone() },
                None => TransportError::NoCredentials {
                    user: target.user.clone(),
                },
            });
        }
        Ok(Self {
            user: target.user.clone(),
            keys,
            password,
            socket: context.agent_socket.clone().unwrap_or_default(),
            locked: locked.into_iter().map(|(path, _)| path).collect(),
        })
    }
}

fn holds(keys: &[Key], wanted: &PublicKey) -> bool {
    keys.iter().any(|key| key.public.key_data() == wanted.key_data())
}

/// Lists the keys of the agent that are worth offering: those in `only`, if it is given. A dead agent (a stale
/// SSH_AUTH_SOCK) matters only when there is nothing else: `alone`.
async fn agent_keys(context: &Context, only: Option<&[LockedKey]>, alone: bool) -> Result<Vec<Key>, TransportError> {
    let Some(socket) = &context.agent_socket else {
        return Ok(Vec::new());
    };
    let agent = context.memory.ssh.identities.agent(socket);
    let wanted = |public: &PublicKey| {
        only.is_none_or(|locked| {
            locked
                .iter()
                .filter_map(|(_, public)| public.as_ref())
                .any(|wanted| wanted.key_data() == public.key_data())
        })
    };
    match agent.keys(socket).await {
        Ok(keys) => Ok(keys
            .iter()
            .filter(|key| wanted(&key.public))
            .take(AGENT_KEYS_MAX)
            .map(|key| Key {
                label: format!("key {} of the ssh-agent", key.comment),
                public: key.public.clone(),
                by: SignedBy::Agent(Arc::clone(&agent)),
            })
            .collect()),
        Err(reason) if alone => Err(TransportError::AgentUnavailable {
            socket: socket.clone(),
            reason: reason.to_owned(),
        }),
        Err(reason) => {
            tracing::debug!(socket = %socket.display(), reason, "the ssh-agent can't be used");
            Ok(Vec::new())
        }
    }
}

fn default_identities(context: &Context) -> Vec<PathBuf> {
    match &context.home {
        Some(home) => DEFAULT_IDENTITIES
            .iter()
            .map(|name| home.join(".ssh").join(name))
            .collect(),
        None => Vec::new(),
    }
}

fn password(target: &Target, context: &Context) -> Result<Option<SecretString>, TransportError> {
    let Some(variable) = &target.password_env else {
        return Ok(None);
    };
    match (context.secrets)(variable) {
        Some(password) => Ok(Some(password)),
        None => Err(TransportError::PasswordMissing {
            variable: variable.clone(),
        }),
    }
}

/// The method of SSH that only asks which methods there are.
const NO_METHOD: &str = "none";

/// How the tries went so far.
#[derive(Default)]
struct Tries {
    /// What was tried, in order, and what was passed over.
    tried: Vec<String>,
    /// Waits for the server's answer.
    round_trips: u64,
    /// The methods that the server says can continue; `None`: it was not asked anything yet.
    remaining: Option<MethodSet>,
    /// The server refused something of ours.
    refused: bool,
    /// Why the agent did not sign.
    unsigned: Option<String>,
}

impl Tries {
    /// Notes a result; gives true when the login is done.
    fn note(&mut self, what: &str, result: AuthResult) -> bool {
        self.round_trips += 1;
        if what != NO_METHOD {
            self.tried.push(what.to_owned());
        }
        match result {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, .. } => {
                self.remaining = Some(remaining_methods);
                self.refused |= what != NO_METHOD;
                false
            }
        }
    }

    /// Before the server's first word everything is worth a try.
    fn open(&self, method: MethodKind) -> bool {
        self.remaining.as_ref().is_none_or(|left| left.contains(&method))
    }
}

/// Logs in over a connection; the time limit is the target's, without the time that the login waits for other hosts'
/// signatures. Gives the number of round trips it took.
pub(super) async fn log_in(
    connected: &mut Connected,
    credentials: &Credentials,
    target: &Target,
) -> Result<u64, TransportError> {
    let address = connected.address.to_string();
    let mut tries = Tries::default();
    let queue = Queue::default();
    let work = try_all(&mut connected.handle, credentials, &queue, &mut tries);
    let detail = match within(target.timeouts.auth, &queue, work).await {
        None => {
            return Err(TransportError::AuthTimeout {
                address,
                after: target.timeouts.auth,
            });
        }
        Some(Ok(true)) => return Ok(tries.round_trips),
        Some(Ok(false)) => None,
        Some(Err(error)) => Some(error),
    };
    // An empty list of methods can mean a refusal or that the connection died. A server that ends it with a word
    // ("too many authentication failures") has refused; one that vanishes has not.
    let said = connected.goodbye.get();
    let nothing_left = tries.remaining.as_ref().is_none_or(|left| left.is_empty());
    if said.is_none() && (detail.is_some() || (nothing_left && connected.handle.is_closed())) {
        let why = connected.why_it_ended().await;
        return Err(TransportError::ConnectionLost {
            during: "logging in",
            detail: why
                .or(detail)
                .unwrap_or_else(|| "the server closed the connection".to_owned()),
        });
    }
    if let (Some(reason), false) = (tries.unsigned, tries.refused) {
        return Err(TransportError::AgentUnavailable {
            socket: credentials.socket.clone(),
            reason,
        });
    }
    if let (true, Some(path)) = (tries.tried.is_empty(), credentials.locked.first()) {
        return Err(TransportError::IdentityEncrypted { path: path.clone() });
    }
    let accepted = match (said, tries.remaining) {
        (Some(said), _) => vec![format!("nothing more: {said}")],
        (None, left) => left
            .iter()
            .flat_map(|left| left.iter())
            .map(|method| <&'static str>::from(method).to_owned())
            .collect(),
    };
    Err(TransportError::AuthRefused {
        user: target.user.clone(),
        address,
        tried: tries.tried,
        accepted,
    })
}

/// Waits for `work` until `limit`, prolonged by the time in the queue.
async fn within<T>(limit: Duration, queue: &Queue, work: impl Future<Output = T>) -> Option<T> {
    let started = Instant::now();
    tokio::pin!(work);
    loop {
        let until = started + limit + queue.waited();
        tokio::select! {
            result = &mut work => return Some(result),
            () = sleep_until(until) => {
                if started.elapsed() >= limit + queue.waited() {
                    return None;
                }
            }
        }
    }
}

async fn try_all(
    handle: &mut Handle<Client>,
    credentials: &Credentials,
    queue: &Queue,
    tries: &mut Tries,
) -> Result<bool, String> {
    let user = &credentials.user;
    let mut rsa_hash = None;
    // The same key may be in the agent and in a file: a second offer would be one failed login more.
    let mut offered: Vec<&PublicKey> = Vec::new();
    for key in &credentials.keys {
        if !tries.open(MethodKind::PublicKey) || handle.is_closed() {
            break;
        }
        if offered.iter().any(|known| known.key_data() == key.public.key_data()) {
            continue;
        }
        let label = &key.label;
        let hash = match signature_hash(handle, &mut rsa_hash, is_rsa(&key.public.algorithm())).await? {
            Signature::With(hash) => hash,
            Signature::OnlySha1 => {
                tries.tried.push(format!("{label} (the server wants SHA-1 signatures)"));
                continue;
            }
        };
        let result = match &key.by {
            SignedBy::Us(private) => handle
                .authenticate_publickey(user, PrivateKeyWithHashAlg::new(Arc::clone(private), hash))
                .await
                .map_err(|error| error.to_string())?,
            SignedBy::Agent(agent) => {
                let mut signer = AgentSigner {
                    agent,
                    credentials,
                    queue,
                };
                let offer = handle.authenticate_publickey_with(user, key.public.clone(), hash, &mut signer);
                match offer.await {
                    Ok(result) => result,
                    Err(Unsigned::Connection) => return Err("the connection ended".to_owned()),
                    Err(Unsigned::Agent(reason)) => {
                        tries.round_trips += 1;
                        tries.tried.push(format!("{label} (the agent did not sign: {reason})"));
                        tries.unsigned.get_or_insert(reason);
                        continue;
                    }
                }
            }
        };
        offered.push(&key.public);
        if tries.note(label, result) {
            return Ok(true);
        }
    }
    if tries.remaining.is_none() && !handle.is_closed() {
        // Asking costs nothing; a wrong method would count as a failed login and get us banned sooner.
        let result = handle.authenticate_none(user).await;
        if tries.note(NO_METHOD, result.map_err(|error| error.to_string())?) {
            return Ok(true);
        }
    }
    match &credentials.password {
        Some(password) if !handle.is_closed() => try_password(handle, user, password, tries).await,
        _ => Ok(false),
    }
}

/// Signs for one host by the agent that all share.
struct AgentSigner<'a> {
    agent: &'a Agent,
    credentials: &'a Credentials,
    queue: &'a Queue,
}

enum Unsigned {
    Connection,
    Agent(String),
}

impl From<russh::SendError> for Unsigned {
    fn from(_: russh::SendError) -> Self {
        Self::Connection
    }
}

impl russh::Signer for AgentSigner<'_> {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        let signed = self
            .agent
            .sign(&self.credentials.socket, self.queue, key, hash, to_sign);
        signed.await.map_err(|error| Unsigned::Agent(error.to_string()))
    }
}

async fn try_password(
    handle: &mut Handle<Client>,
    user: &str,
    password: &SecretString,
    tries: &mut Tries,
) -> Result<bool, String> {
    if tries.open(MethodKind::Password) {
        let result = handle
            .authenticate_password(user, password.expose_secret())
            .await
            .map_err(|error| error.to_string())?;
        // The same password again by another method would be a second failed login: once is enough.
        return Ok(tries.note("password", result));
    }
    if tries.open(MethodKind::KeyboardInteractive) {
        return keyboard_interactive(handle, user, password, tries).await;
    }
    Ok(false)
}

/// Answers the first hidden prompt with the password, and questions without prompts with nothing. A second
/// prompt (a one-time code, a new password) has no answer here.
async fn keyboard_interactive(
    handle: &mut Handle<Client>,
    user: &str,
    password: &SecretString,
    tries: &mut Tries,
) -> Result<bool, String> {
    let label = "keyboard-interactive";
    let mut answered = false;
    let mut response = handle
        .authenticate_keyboard_interactive_start(user, None)
        .await
        .map_err(|error| error.to_string())?;
    for _ in 0..INTERACTIVE_ROUNDS_MAX {
        let prompts = match response {
            KeyboardInteractiveAuthResponse::Success => return Ok(tries.note(label, AuthResult::Success)),
            KeyboardInteractiveAuthResponse::Failure {
                remaining_methods,
                partial_success,
            } => {
                let result = AuthResult::Failure {
                    remaining_methods,
                    partial_success,
                };
                return Ok(tries.note(label, result));
            }
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
        };
        let answers = match prompts.as_slice() {
            [] => Vec::new(),
            [prompt] if !prompt.echo && !answered => {
                answered = true;
                vec![password.expose_secret().to_owned()]
            }
            _ => {
                tries
                    .tried
                    .push(format!("{label} (the server asks for more than a password)"));
                return Ok(false);
            }
        };
        response = handle
            .authenticate_keyboard_interactive_respond(answers)
            .await
            .map_err(|error| error.to_string())?;
    }
    tries.tried.push(format!("{label} (the server does not stop asking)"));
    Ok(false)
}

#[derive(Clone, Copy)]
enum Signature {
    With(Option<HashAlg>),
    OnlySha1,
}

/// Chooses the hash for signatures by RSA keys; asks once per connection, since a server without the extension
/// lets us wait a second.
async fn signature_hash(
    handle: &Handle<Client>,
    known: &mut Option<Signature>,
    rsa: bool,
) -> Result<Signature, String> {
    if !rsa {
        return Ok(Signature::With(None));
    }
    if let Some(known) = known {
        return Ok(*known);
    }
    let signature = match handle.best_supported_rsa_hash().await {
        Ok(Some(Some(hash))) => Signature::With(Some(hash)),
        Ok(Some(None)) => Signature::OnlySha1,
        // It does not say. RFC 8332 recommends SHA-256 to every server; SHA-512 is optional.
        Ok(None) => Signature::With(Some(HashAlg::Sha256)),
        Err(error) => return Err(error.to_string()),
    };
    *known = Some(signature);
    Ok(signature)
}
