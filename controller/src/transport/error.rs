//! Why a host could not be reached or a program could not be run: each kind with a message and what to do.
//!
//! A `TransportError` is data about one host. It never says how the program that ran on the host fared.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a session could not be opened, or a program could not be carried to its end.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address has no IP address.
    #[error("can't resolve `{address}`: {}", plain(source))]
    Resolve {
        /// The address as the inventory has it.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nothing accepts TCP connections there, or the network says it can't be reached.
    #[error("can't connect to {address}: {}", plain(source))]
    Connect {
        /// Address and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// No TCP connection within the connect timeout.
    #[error("no answer from {address} within {}", seconds(*.after))]
    ConnectTimeout {
        /// Address and port.
        address: String,
        /// How long we waited.
        after: Duration,
    },
    /// TCP is open, and no SSH handshake came to its end in time.
    #[error("{address} accepted the connection but did not finish the SSH handshake within {}", seconds(*.after))]
    HandshakeTimeout {
        /// Address and port.
        address: String,
        /// How long we waited.
        after: Duration,
    },
    /// The server closed the connection before the handshake ended: it limits connections, or starts anew.
    #[error("{address} did not complete an SSH handshake: {detail}")]
    Dropped {
        /// Address and port.
        address: String,
        /// What was seen.
        detail: String,
    },
    /// The other side does not speak SSH.
    #[error("{address} did not complete an SSH handshake: {detail}")]
    NotSsh {
        /// Address and port.
        address: String,
        /// What was seen.
        detail: String,
    },
    /// Both sides have no algorithm in common.
    #[error("{address} and Holdfast have no {what} in common (it offers {})", theirs.join(", "))]
    Negotiation {
        /// Address and port.
        address: String,
        /// Key exchange, host key, cipher or MAC.
        what: String,
        /// What the server offers.
        theirs: Vec<String>,
    },
    /// The host's key is in no known_hosts file and `host_keys` is strict.
    #[error("the host key of {host} is unknown ({algorithm} {fingerprint})")]
    HostKeyUnknown {
        /// The name as known_hosts writes it.
        host: String,
        /// The key's algorithm.
        algorithm: String,
        /// The SHA-256 fingerprint.
        fingerprint: String,
    },
    /// A known_hosts file has another key for the host.
    #[error("the host key of {host} has changed: it shows {algorithm} {fingerprint}, {file}:{line} has {known}")]
    HostKeyChanged {
        /// The name as known_hosts writes it.
        host: String,
        /// The algorithm of the key it shows.
        algorithm: String,
        /// The fingerprint of the key it shows.
        fingerprint: Box<str>,
        /// The fingerprint that was known.
        known: Box<str>,
        /// The file that has it.
        file: Box<str>,
        /// The line of that file, from 1.
        line: usize,
    },
    /// A known_hosts file marks the key as `@revoked`.
    #[error("the host key of {host} ({fingerprint}) is marked as revoked in {file}:{line}")]
    HostKeyRevoked {
        /// The name as known_hosts writes it.
        host: String,
        /// The fingerprint.
        fingerprint: String,
        /// The file that says so.
        file: String,
        /// The line of that file, from 1.
        line: usize,
    },
    /// The new key could not be written down, so it was not trusted.
    #[error("can't record the new host key of {host} in {}: {source}", path.display())]
    HostKeyNotRecorded {
        /// The name as known_hosts writes it.
        host: String,
        /// The known_hosts file of the project.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A known_hosts file could not be read.
    #[error("can't read the known host keys in {}: {source}", path.display())]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Every way to log in was refused.
    #[error(
        "{user}@{address} refused the login (tried: {}; it accepts: {})",
        list(tried),
        list(accepted)
    )]
    AuthRefused {
        /// The user.
        user: String,
        /// Address and port.
        address: String,
        /// What was tried, in order: `key ~/.ssh/id_ed25519`, `password`, ...
        tried: Vec<String>,
        /// The methods that the server said can continue.
        accepted: Vec<String>,
    },
    /// There was nothing to log in with.
    #[error("there is no key or password to log in with as {user}")]
    NoCredentials {
        /// The user.
        user: String,
    },
    /// The login did not end in time.
    #[error("{address} did not finish the login within {}", seconds(*.after))]
    AuthTimeout {
        /// Address and port.
        address: String,
        /// How long we waited.
        after: Duration,
    },
    /// A key file named in the inventory can't be used.
    #[error("can't use the key {}: {reason}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key file is protected by a passphrase.
    #[error("the key {} is protected by a passphrase", path.display())]
    IdentityEncrypted {
        /// The file.
        path: PathBuf,
    },
    /// The ssh-agent behind `SSH_AUTH_SOCK` does not answer.
    #[error("can't use the ssh-agent at {}: {reason}", socket.display())]
    AgentUnavailable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        reason: String,
    },
    /// The environment variable that should hold the password is not set.
    #[error("the environment variable `{variable}`, which should hold the password, is not set")]
    PasswordMissing {
        /// Its name.
        variable: String,
    },
    /// `sudo -n` did not let the user become root without a password.
    #[error("sudo refused: {said}")]
    SudoRefused {
        /// What sudo said, in a line.
        said: String,
    },
    /// The host has no such program.
    #[error("the host can't run `{program}`: {said}")]
    ProgramMissing {
        /// What was to be run.
        program: String,
        /// What the host said, in a line.
        said: String,
    },
    /// The server did not open a channel, or refused to run a program in it.
    #[error("the SSH server refused to run a program: {detail}")]
    ExecRefused {
        /// What it said.
        detail: String,
    },
    /// The connection ended before the program did; what became of the program is unknown.
    #[error("the connection was lost while {during}: {detail}")]
    ConnectionLost {
        /// What we were doing.
        during: &'static str,
        /// What was seen.
        detail: String,
    },
    /// The program did not end in time; it may still be running.
    #[error("the program did not end within {}", seconds(*.after))]
    Deadline {
        /// How long we waited.
        after: Duration,
    },
    /// The connection is open, and nothing came over it for too long; what became of the program is unknown.
    #[error("the host said nothing for {}, though the connection is open", seconds(*.after))]
    Silent {
        /// How long we waited.
        after: Duration,
    },
    /// A program on this machine could not be started (`via = "local"`).
    #[error("can't start `{program}` on this machine: {source}")]
    Spawn {
        /// What was to be started.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// Our own code failed while it talked to this host.
    #[error("an internal error while talking to the host: {detail}")]
    Panicked {
        /// What the panic said.
        detail: String,
    },
    /// A person stopped the command before the host was done.
    #[error("interrupted before it was done")]
    Interrupted,
    /// The host has no agent (`via = "agent"`).
    #[error("there is no agent on the host ({program}: {said})")]
    AgentMissing {
        /// Where it should be.
        program: String,
        /// What the host said, in a line.
        said: String,
    },
    /// The agent's side of a connection refused or broke the protocol (`via = "agent"`).
    #[error("the agent on the host can't be used: {detail}")]
    Agent {
        /// What was seen.
        detail: String,
    },
    /// The agent could not read or write its own files.
    #[error("the agent on the host can't use its files: {detail}")]
    AgentStorage {
        /// In its words.
        detail: String,
    },
}

impl TransportError {
    /// Names the kind in a word, for counting and for JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "resolve",
            Self::Connect { .. } => "connect",
            Self::ConnectTimeout { .. } => "connect-timeout",
            Self::HandshakeTimeout { .. } => "handshake-timeout",
            Self::Dropped { .. } => "dropped",
            Self::NotSsh { .. } => "not-ssh",
            Self::Negotiation { .. } => "negotiation",
            Self::HostKeyUnknown { .. } => "host-key-unknown",
            Self::HostKeyChanged { .. } => "host-key-changed",
            Self::HostKeyRevoked { .. } => "host-key-revoked",
            Self::HostKeyNotRecorded { .. } => "host-key-not-recorded",
            Self::KnownHosts { .. } => "known-hosts",
            Self::AuthRefused { .. } => "auth-refused",
            Self::NoCredentials { .. } => "no-credentials",
            Self::AuthTimeout { .. } => "auth-timeout",
            Self::Identity { .. } => "identity",
            Self::IdentityEncrypted { .. } => "identity-encrypted",
            Self::AgentUnavailable { .. } => "ssh-agent",
            Self::PasswordMissing { .. } => "password-missing",
            Self::SudoRefused { .. } => "sudo-refused",
            Self::ProgramMissing { .. } => "program-missing",
            Self::ExecRefused { .. } => "exec-refused",
            Self::ConnectionLost { .. } => "connection-lost",
            Self::Deadline { .. } => "deadline",
            Self::Silent { .. } => "silent",
            Self::Spawn { .. } => "spawn",
            Self::Panicked { .. } => "panicked",
            Self::Interrupted => "interrupted",
            Self::AgentMissing { .. } => "agent-missing",
            Self::Agent { .. } => "agent",
            Self::AgentStorage { .. } => "agent-storage",
        }
    }

    /// Says what a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Resolve { .. } => "check `address` of the host in the inventory, or the DNS".into(),
            Self::Connect { .. } => "check that sshd runs there and that `port` is right".into(),
            Self::ConnectTimeout { .. } => {
                "check that the host is up and that no firewall drops the packets, or raise `connect_timeout`".into()
            }
            Self::HandshakeTimeout { .. } => "the server may be overloaded; check it on its console".into(),
            Self::Dropped { .. } => {
                "a server that limits connections (MaxStartups, PerSourcePenalties, hosts.deny) closes them early: raise its limit or lower --forks; else check `port`"
                    .into()
            }
            Self::NotSsh { .. } => "check that `port` is the port of sshd".into(),
            Self::Negotiation { .. } => {
                "the server only offers algorithms that are no longer safe; update it if it can be updated".into()
            }
            Self::HostKeyUnknown { .. } => {
                "compare the fingerprint on the host's console, then add the key to ~/.ssh/known_hosts, or set `host_keys = \"accept-new\"`"
                    .into()
            }
            Self::HostKeyChanged { file, line, .. } => format!(
                "someone may be listening in, or the host was installed anew: compare the fingerprint on the host's console; when you are sure, put the new key in place of line {line} of {file}"
            ),
            Self::HostKeyRevoked { .. } => "do not connect; the key was declared unsafe. Give the host a new one".into(),
            Self::HostKeyNotRecorded { path, .. } | Self::KnownHosts { path, .. } => {
                format!("check the permissions and the free space of {}", path.display())
            }
            Self::AuthRefused { user, tried, .. } => {
                let key = tried.iter().any(|what| what.starts_with("key "));
                match (key, tried.iter().any(|what| !what.starts_with("key "))) {
                    (true, false) => format!(
                        "check that the public key is in ~{user}/.ssh/authorized_keys on the host, or `user` and `identity`"
                    ),
                    (false, _) => "check `user`, and the variable that `password` names".into(),
                    (true, true) => format!(
                        "check `user`, the variable that `password` names, and ~{user}/.ssh/authorized_keys on the host"
                    ),
                }
            }
            Self::NoCredentials { .. } => {
                "make a key with ssh-keygen, name one with `identity`, start an ssh-agent, or set `password`".into()
            }
            Self::AuthTimeout { .. } => "the server may wait for a directory service or DNS; check it on its console".into(),
            Self::Identity { .. } => "check `identity`; keys in the formats of OpenSSH and PEM can be read".into(),
            Self::IdentityEncrypted { path } => {
                format!("add it to the ssh-agent: ssh-add {}", path.display())
            }
            Self::AgentUnavailable { .. } => "start ssh-agent, or unset SSH_AUTH_SOCK".into(),
            Self::PasswordMissing { variable } => format!("set it, then run the command again: read -rs {variable} && export {variable}"),
            Self::SudoRefused { .. } => {
                "let the login user pass without a password: `USER ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d/, and no \
                 `requiretty`; or log in as root"
                    .into()
            }
            Self::ProgramMissing { .. } => "Holdfast needs /bin/sh, and sudo where `become = \"sudo\"`".into(),
            Self::ExecRefused { .. } => "check MaxSessions, ForceCommand and the user's login shell on the host".into(),
            Self::ConnectionLost { .. } => "run the command again: Holdfast asks the host what became of it".into(),
            Self::Deadline { .. } => "look on the host what holds it up; it may still be running there".into(),
            Self::Silent { .. } => {
                "what runs there hangs: look at its load, its disks and its mounts on its console, then run the command again"
                    .into()
            }
            Self::Spawn { .. } => "check that the program exists on this machine".into(),
            Self::Panicked { .. } => "this is a bug; please report it with the output of -v".into(),
            Self::Interrupted => "run the command again".into(),
            Self::AgentMissing { .. } => "install it: holdfast agent install HOST".into(),
            Self::Agent { .. } => "install the agent again: holdfast agent install HOST".into(),
            Self::AgentStorage { .. } => {
                "free space there, or have its disk mounted writable, and run the command again; what it keeps is kept"
                    .into()
            }
        }
    }

    /// Tells whether the host was never reached (no program of ours can have run).
    ///
    /// After [`TransportError::ConnectionLost`], [`TransportError::Deadline`] and [`TransportError::Silent`] the state is
    /// unknown instead.
    pub fn unreachable(&self) -> bool {
        !matches!(
            self,
            Self::SudoRefused { .. }
                | Self::ProgramMissing { .. }
                | Self::ExecRefused { .. }
                | Self::ConnectionLost { .. }
                | Self::Deadline { .. }
                | Self::Silent { .. }
                | Self::Panicked { .. }
                | Self::AgentMissing { .. }
                | Self::Agent { .. }
                | Self::AgentStorage { .. }
        )
    }
}

/// What the system says, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error ").map_or(text.as_str(), |(said, _)| said);
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

fn list(words: &[String]) -> String {
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(", ")
    }
}
