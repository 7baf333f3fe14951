//! Logs in: keys of the ssh-agent and of files, then the password, also by keyboard-interactive. Everything that
//! can be wrong on this machine is found before the host is contacted, and a refusal is final.

use super::algorithms::is_rsa;
use super::connect::{Client, Connected};
use crate::transport::{Context, Target, TransportError};
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The default identities, in the order in which they are tried.
const DEFAULT_IDENTITIES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// sshd's MaxAuthTries is 6 by default: five keys of the agent leave a try for the password.
const AGENT_KEYS_MAX: usize = 5;

/// A local socket answers at once or is stuck; a key that asks a person for a touch takes longer, but only signs.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// PAM stacks ask two or three times; more is a server that plays for time.
const INTERACTIVE_ROUNDS_MAX: usize = 8;

/// No private key file is larger.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Everything there is to log in with.
pub(super) struct Credentials {
    user: String,
    files: Vec<FileKey>,
    agent: Option<AgentClient<UnixStream>>,
    agent_keys: Vec<(String, PublicKey)>,
    password: Option<SecretString>,
    /// Protected keys that were named in the inventory and are not in the agent.
    locked: Vec<PathBuf>,
}

struct FileKey {
    label: String,
    key: Arc<PrivateKey>,
}

/// A key file under a passphrase, with its public half where the file shows it.
type LockedKey = (PathBuf, Option<Box<PublicKey>>);

enum Loaded {
    Key(Box<PrivateKey>),
    Locked(Option<Box<PublicKey>>),
    Missing,
}

impl Credentials {
    /// Collects what the target and this machine offer.
    pub(super) async fn load(target: &Target, context: &Context) -> Result<Self, TransportError> {
        let named = !target.identities.is_empty();
        let paths = if named {
            target.identities.clone()
        } else {
            default_identities(context)
        };
        let mut credentials = Self {
            user: target.user.clone(),
            files: Vec::new(),
            agent: None,
            agent_keys: Vec::new(),
            password: password(target, context)?,
            locked: Vec::new(),
        };
        let mut locked: Vec<LockedKey> = Vec::new();
        for path in paths {
            match (load(&path, context).await, named) {
                (Ok(Loaded::Key(key)), _) => credentials.files.push(FileKey {
                    label: format!("key {}", path.display()),
                    key: Arc::new(*key),
                }),
                (Ok(Loaded::Locked(public)), _) => locked.push((path, public)),
                (Ok(Loaded::Missing), true) => {
                    return Err(TransportError::Identity {
                        path,
                        reason: "there is no such file".to_owned(),
                    });
                }
                (Ok(Loaded::Missing), false) => {}
                (Err(error), true) => return Err(error),
                (Err(error), false) => tracing::warn!(%error, "skipped a default key"),
            }
        }
        // With identities named, the agent serves only for those of them that are protected: offering all of its
        // keys would use up the server's patience before the right one.
        if !named || !locked.is_empty() {
            credentials
                .ask_agent(context, named.then_some(locked.as_slice()))
                .await?;
        }
        credentials.locked = locked
            .into_iter()
            .filter(|(_, public)| !public.as_ref().is_some_and(|key| credentials.agent_has(key)))
            .map(|(path, _)| path)
            .collect();
        if credentials.files.is_empty() && credentials.agent_keys.is_empty() && credentials.password.is_none() {
            return Err(match credentials.locked.first() {
                Some(path) => TransportError::IdentityEncrypted { path: path.clone() },
                None => TransportError::NoCredentials {
                    user: target.user.clone(),
                },
            });
        }
        Ok(credentials)
    }

    fn agent_has(&self, key: &PublicKey) -> bool {
        self.agent_keys
            .iter()
            .any(|(_, held)| held.key_data() == key.key_data())
    }

    async fn ask_agent(&mut self, context: &Context, only: Option<&[LockedKey]>) -> Result<(), TransportError> {
        let Some(socket) = &context.agent_socket else {
            return Ok(());
        };
        let asked = timeout(AGENT_TIMEOUT, async {
            let mut agent = AgentClient::connect_uds(socket).await?;
            let identities = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, identities))
        })
        .await;
        let reason = match asked {
            Ok(Ok((agent, identities))) => {
                self.agent = Some(agent);
                self.agent_keys = identities
                    .into_iter()
                    .filter_map(|identity| match identity {
                        AgentIdentity::PublicKey { key, comment } => {
                            Some((format!("key {comment} of the ssh-agent"), key))
                        }
                        AgentIdentity::Certificate { .. } => None,
                    })
                    .filter(|(_, key)| {
                        only.is_none_or(|locked| {
                            locked.iter().any(|(_, public)| {
                                public
                                    .as_ref()
                                    .is_some_and(|wanted| wanted.key_data() == key.key_data())
                            })
                        })
                    })
                    .take(AGENT_KEYS_MAX)
                    .collect();
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within 5 s".to_owned(),
        };
        // A dead agent (a stale SSH_AUTH_SOCK) matters only when there is nothing else.
        if self.files.is_empty() && self.password.is_none() {
            return Err(TransportError::AgentUnavailable {
                socket: socket.clone(),
                reason,
            });
        }
        tracing::debug!(socket = %socket.display(), reason, "the ssh-agent can't be used");
        Ok(())
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

async fn load(path: &Path, context: &Context) -> Result<Loaded, TransportError> {
    let path = expand_home(path, context);
    let failed = |reason: String| TransportError::Identity {
        path: path.clone(),
        reason,
    };
    match tokio::fs::metadata(&path).await {
        Ok(meta) if meta.is_dir() => return Err(failed("it is a directory".to_owned())),
        Ok(meta) if meta.len() > KEY_FILE_BYTES_MAX => return Err(failed("it is too large for a key".to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Missing),
        Err(error) => return Err(failed(error.to_string())),
    }
    let text = tokio::fs::read_to_string(&path)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let text = zeroize::Zeroizing::new(text);
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err(failed(
            "it is a public key; name the private one (without .pub)".to_owned(),
        ));
    }
    if let Ok(key) = PrivateKey::from_openssh(text.as_bytes())
        && key.is_encrypted()
    {
        return Ok(Loaded::Locked(Some(Box::new(key.public_key().clone()))));
    }
    if text.contains("ENCRYPTED") {
        return Ok(Loaded::Locked(None));
    }
    match russh::keys::decode_secret_key(&text, None) {
        Ok(key) => Ok(Loaded::Key(Box::new(key))),
        Err(russh::keys::Error::KeyIsEncrypted) => Ok(Loaded::Locked(None)),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn expand_home(path: &Path, context: &Context) -> PathBuf {
    match (path.strip_prefix("~"), &context.home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_path_buf(),
    }
}

/// The method of SSH that only asks which methods there are.
const NO_METHOD: &str = "none";

/// How the tries went so far.
struct Tries {
    tried: Vec<String>,
    remaining: MethodSet,
}

impl Tries {
    /// Notes a result; gives true when the login is done.
    fn note(&mut self, what: &str, result: AuthResult) -> bool {
        self.tried.push(what.to_owned());
        match result {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, .. } => {
                self.remaining = remaining_methods;
                false
            }
        }
    }

    fn open(&self, method: MethodKind) -> bool {
        // Before the first answer nothing is known, and everything is worth a try.
        self.tried.is_empty() || self.remaining.contains(&method)
    }
}

/// Logs in over a connection; the time limit is the target's. Gives the number of round trips it took.
pub(super) async fn log_in(
    connected: &mut Connected,
    credentials: Credentials,
    target: &Target,
) -> Result<u64, TransportError> {
    let address = connected.address.to_string();
    let mut tries = Tries {
        tried: Vec::new(),
        remaining: MethodSet::empty(),
    };
    let locked = credentials.locked.first().cloned();
    let result = timeout(
        target.timeouts.auth,
        try_all(&mut connected.handle, credentials, &mut tries),
    )
    .await;
    let detail = match result {
        Err(_) => {
            return Err(TransportError::AuthTimeout {
                address,
                after: target.timeouts.auth,
            });
        }
        Ok(Ok(true)) => return Ok(tries.tried.len() as u64),
        Ok(Ok(false)) => None,
        Ok(Err(error)) => Some(error),
    };
    // An empty list of methods can mean a refusal or that the connection died. A server that ends it with a word
    // ("too many authentication failures") has refused; one that vanishes has not.
    let said = connected.goodbye.get();
    if said.is_none() && (detail.is_some() || (tries.remaining.is_empty() && connected.handle.is_closed())) {
        return Err(TransportError::ConnectionLost {
            during: "logging in",
            detail: detail.unwrap_or_else(|| "the server closed the connection".to_owned()),
        });
    }
    if tries.tried.is_empty()
        && let Some(path) = locked
    {
        return Err(TransportError::IdentityEncrypted { path });
    }
    let accepted = match said {
        Some(said) => vec![format!("nothing more: {said}")],
        None => tries
            .remaining
            .iter()
            .map(|method| <&'static str>::from(method).to_owned())
            .collect(),
    };
    Err(TransportError::AuthRefused {
        user: target.user.clone(),
        address,
        // Asking which methods there are was no try.
        tried: tries.tried.into_iter().filter(|what| what != NO_METHOD).collect(),
        accepted,
    })
}

async fn try_all(handle: &mut Handle<Client>, credentials: Credentials, tries: &mut Tries) -> Result<bool, String> {
    let user = credentials.user.clone();
    let mut rsa_hash = None;
    if let Some(mut agent) = credentials.agent {
        for (label, key) in credentials.agent_keys {
            if !tries.open(MethodKind::PublicKey) || handle.is_closed() {
                break;
            }
            let hash = match signature_hash(handle, &mut rsa_hash, is_rsa(&key.algorithm())).await? {
                Signature::With(hash) => hash,
                Signature::OnlySha1 => {
                    tries.tried.push(format!("{label} (the server wants SHA-1 signatures)"));
                    continue;
                }
            };
            match handle.authenticate_publickey_with(&user, key, hash, &mut agent).await {
                Ok(result) => {
                    if tries.note(&label, result) {
                        return Ok(true);
                    }
                }
                Err(error) => tries.tried.push(format!("{label} (the agent did not sign: {error})")),
            }
        }
    }
    for FileKey { label, key } in credentials.files {
        if !tries.open(MethodKind::PublicKey) || handle.is_closed() {
            break;
        }
        let hash = match signature_hash(handle, &mut rsa_hash, is_rsa(&key.algorithm())).await? {
            Signature::With(hash) => hash,
            Signature::OnlySha1 => {
                tries.tried.push(format!("{label} (the server wants SHA-1 signatures)"));
                continue;
            }
        };
        let result = handle
            .authenticate_publickey(&user, PrivateKeyWithHashAlg::new(key, hash))
            .await
            .map_err(|error| error.to_string())?;
        if tries.note(&label, result) {
            return Ok(true);
        }
    }
    let Some(password) = credentials.password else {
        return Ok(false);
    };
    if handle.is_closed() {
        return Ok(false);
    }
    if tries.tried.is_empty() {
        // Asking costs nothing; a wrong method would count as a failed login and get us banned sooner.
        let result = handle
            .authenticate_none(&user)
            .await
            .map_err(|error| error.to_string())?;
        if tries.note(NO_METHOD, result) {
            return Ok(true);
        }
    }
    try_password(handle, &user, &password, tries).await
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
