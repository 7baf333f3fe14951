//! How a host is reached: one set of keys, which `[ssh]` of `holdfast.toml`, `[all]`, groups and hosts share.
//!
//! [`SshSettings`] is one layer, every key optional; [`HostSettings`] is what the layers come to. Opening keys,
//! reading secrets and expanding `~` is the shell's duty, not this module's.

use crate::diagnostic::{Located, Location, Problem, Problems};
use crate::document::{Kind, TableReader};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use toml::Spanned;

/// The port of SSH (RFC 4253).
pub const PORT_DEFAULT: u16 = 22;
/// The longest any of these times may be: a day. More is a typo.
const TIME_MS_MAX: u64 = 86_400_000;

/// What carries programs to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// An SSH exec channel.
    Ssh,
    /// `holdfast-agent` over an SSH exec channel.
    Agent,
    /// A process on the controller's own machine.
    Local,
}

/// How programs get the rights they need on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Become {
    /// They run as the login user.
    None,
    /// `sudo -n /bin/sh`.
    Sudo,
}

/// What to do with a host key that is in no known_hosts file. A changed key is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeys {
    /// Refuse it.
    Strict,
    /// Write it down and go on.
    AcceptNew,
}

/// Where a secret is found at the last moment; never the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretRef {
    /// The controller's environment variable of this name.
    Env(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// One layer of connection settings: what it does not set, a weaker layer or a default gives.
///
/// Paths are resolved against the folder of the file that names them; a leading `~/` is kept for the shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshSettings {
    /// Where to connect: a name or an address; a template (`{{name}}.example.net`).
    pub address: Option<Located<String>>,
    /// The TCP port.
    pub port: Option<Located<u16>>,
    /// The login user.
    pub user: Option<Located<String>>,
    /// What carries programs.
    pub via: Option<Located<Via>>,
    /// How they get their rights (`become`).
    pub becomes: Option<Located<Become>>,
    /// Private key files, in the order to try (`identity`).
    pub identity: Option<Located<Vec<PathBuf>>>,
    /// Where the login password is found.
    pub password: Option<Located<SecretRef>>,
    /// What to do with an unknown host key.
    pub host_keys: Option<Located<HostKeys>>,
    /// Time for TCP to connect, in milliseconds.
    pub connect_timeout_ms: Option<Located<u64>>,
    /// Time for the server's banner and the key exchange, in milliseconds.
    pub handshake_timeout_ms: Option<Located<u64>>,
    /// Time to log in, in milliseconds.
    pub auth_timeout_ms: Option<Located<u64>>,
    /// Time in which a change of what carries us has to be confirmed over a new connection, in milliseconds.
    pub confirm_timeout_ms: Option<Located<u64>>,
    /// Where Holdfast keeps its things on the host; a template.
    pub state_dir: Option<Located<String>>,
}

/// What the layers come to for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// Where to connect, a template; `None`: the host's name.
    pub address: Option<Located<String>>,
    /// The TCP port.
    pub port: u16,
    /// The login user; `None`: the user who runs Holdfast.
    pub user: Option<String>,
    /// What carries programs.
    pub via: Via,
    /// How they get their rights.
    pub becomes: Become,
    /// Private key files, in the order to try; empty: the usual ones.
    pub identity: Vec<PathBuf>,
    /// Where the login password is found.
    pub password: Option<SecretRef>,
    /// What to do with an unknown host key.
    pub host_keys: HostKeys,
    /// Time for TCP to connect, in milliseconds; `None`, here and below: the transport's default.
    pub connect_timeout_ms: Option<u64>,
    /// Time for the server's banner and the key exchange, in milliseconds.
    pub handshake_timeout_ms: Option<u64>,
    /// Time to log in, in milliseconds.
    pub auth_timeout_ms: Option<u64>,
    /// Time in which a change of what carries us has to be confirmed over a new connection, in milliseconds.
    pub confirm_timeout_ms: Option<u64>,
    /// Where Holdfast keeps its things on the host, a template; `None`: by the login user's rights.
    pub state_dir: Option<Located<String>>,
}

impl SshSettings {
    /// Keys of the format that this version refuses by name.
    pub const NOT_BUILT: &'static [&'static str] = &[
        "jump",
        "crypto",
        "become_user",
        "become_password",
        "identity_passphrase",
        "proxy_command",
        "keepalive",
        "known_hosts",
        "sessions",
        "ssh_agent",
    ];

    /// Reads the keys out of a table; what the layer itself knows besides, and [`TableReader::finish`] with
    /// [`SshSettings::NOT_BUILT`], is the caller's.
    pub fn read(reader: &mut TableReader<'_>, problems: &mut Problems) -> Self {
        Self {
            address: checked(reader, "address", check_address, problems),
            port: reader.integer("port", 1..=65_535, problems).map(|number| {
                let port = u16::try_from(*number.get_ref()).expect("the range was checked");
                Located::new(port, reader.location(&number.span()))
            }),
            user: checked(reader, "user", check_user, problems),
            via: word(
                reader,
                "via",
                &[("ssh", Via::Ssh), ("agent", Via::Agent), ("local", Via::Local)],
                &["telnet", "winrm", "docker", "podman", "lxc", "chroot", "dial-home"],
                problems,
            ),
            becomes: word(
                reader,
                "become",
                &[("none", Become::None), ("sudo", Become::Sudo)],
                &["doas", "su", "pbrun", "dzdo", "pfexec", "runas", "ksu"],
                problems,
            ),
            identity: identity(reader, problems),
            password: password(reader, problems),
            host_keys: word(
                reader,
                "host_keys",
                &[("strict", HostKeys::Strict), ("accept-new", HostKeys::AcceptNew)],
                &[],
                problems,
            ),
            connect_timeout_ms: time(reader, "connect_timeout", problems),
            handshake_timeout_ms: time(reader, "handshake_timeout", problems),
            auth_timeout_ms: time(reader, "auth_timeout", problems),
            confirm_timeout_ms: time(reader, "confirm_timeout", problems),
            state_dir: checked(reader, "state_dir", check_state_dir, problems),
        }
    }

    /// Tells whether the layer sets nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Lays this layer over a weaker one: each key of this layer wins.
    #[must_use]
    pub fn over(&self, weaker: &Self) -> Self {
        fn first<T: Clone>(strong: &Option<T>, weak: &Option<T>) -> Option<T> {
            strong.as_ref().or(weak.as_ref()).cloned()
        }
        Self {
            address: first(&self.address, &weaker.address),
            port: first(&self.port, &weaker.port),
            user: first(&self.user, &weaker.user),
            via: first(&self.via, &weaker.via),
            becomes: first(&self.becomes, &weaker.becomes),
            identity: first(&self.identity, &weaker.identity),
            password: first(&self.password, &weaker.password),
            host_keys: first(&self.host_keys, &weaker.host_keys),
            connect_timeout_ms: first(&self.connect_timeout_ms, &weaker.connect_timeout_ms),
            handshake_timeout_ms: first(&self.handshake_timeout_ms, &weaker.handshake_timeout_ms),
            auth_timeout_ms: first(&self.auth_timeout_ms, &weaker.auth_timeout_ms),
            confirm_timeout_ms: first(&self.confirm_timeout_ms, &weaker.confirm_timeout_ms),
            state_dir: first(&self.state_dir, &weaker.state_dir),
        }
    }

    /// Fills what no layer set with the defaults.
    pub fn resolve(&self) -> HostSettings {
        fn plain<T: Clone>(setting: &Option<Located<T>>) -> Option<T> {
            setting.as_ref().map(|located| located.value.clone())
        }
        HostSettings {
            address: self.address.clone(),
            port: plain(&self.port).unwrap_or(PORT_DEFAULT),
            user: plain(&self.user),
            via: plain(&self.via).unwrap_or(Via::Ssh),
            becomes: plain(&self.becomes).unwrap_or(Become::None),
            identity: plain(&self.identity).unwrap_or_default(),
            password: plain(&self.password),
            host_keys: plain(&self.host_keys).unwrap_or(HostKeys::Strict),
            connect_timeout_ms: plain(&self.connect_timeout_ms),
            handshake_timeout_ms: plain(&self.handshake_timeout_ms),
            auth_timeout_ms: plain(&self.auth_timeout_ms),
            confirm_timeout_ms: plain(&self.confirm_timeout_ms),
            state_dir: self.state_dir.clone(),
        }
    }
}

impl HostSettings {
    /// Lays one more layer over what the others came to: flags such as `-u` and `-b`.
    pub fn override_with(&mut self, flags: &SshSettings) {
        fn set<T: Clone>(setting: &mut T, flag: &Option<Located<T>>) {
            if let Some(located) = flag {
                setting.clone_from(&located.value);
            }
        }
        fn set_some<T: Clone>(setting: &mut Option<T>, flag: &Option<Located<T>>) {
            if let Some(located) = flag {
                *setting = Some(located.value.clone());
            }
        }
        self.address = flags.address.clone().or_else(|| self.address.take());
        self.state_dir = flags.state_dir.clone().or_else(|| self.state_dir.take());
        set(&mut self.port, &flags.port);
        set_some(&mut self.user, &flags.user);
        set(&mut self.via, &flags.via);
        set(&mut self.becomes, &flags.becomes);
        set(&mut self.identity, &flags.identity);
        set_some(&mut self.password, &flags.password);
        set(&mut self.host_keys, &flags.host_keys);
        set_some(&mut self.connect_timeout_ms, &flags.connect_timeout_ms);
        set_some(&mut self.handshake_timeout_ms, &flags.handshake_timeout_ms);
        set_some(&mut self.auth_timeout_ms, &flags.auth_timeout_ms);
        set_some(&mut self.confirm_timeout_ms, &flags.confirm_timeout_ms);
    }
}

impl Default for HostSettings {
    fn default() -> Self {
        SshSettings::default().resolve()
    }
}

/// Checks a host's address, before and after rendering: it is handed to other programs and shown.
///
/// # Errors
/// Says why the text can't be an address.
pub fn check_address(text: &str) -> Result<(), &'static str> {
    check_word(text)?;
    // A template may hold spaces of its own, between the braces.
    if !text.contains("{{") && text.contains(['/', ' ']) {
        return Err("has a space or a `/`");
    }
    Ok(())
}

/// Checks a login user's name.
fn check_user(text: &str) -> Result<(), &'static str> {
    check_word(text)?;
    if text.contains([' ', ':', '/']) {
        return Err("has a space, a `:` or a `/`");
    }
    Ok(())
}

/// Checks a state folder, before and after rendering.
///
/// # Errors
/// Says why the text can't be a folder on a host.
pub fn check_state_dir(text: &str) -> Result<(), &'static str> {
    check_word(text)?;
    if !["/", "~/", "{{"].iter().any(|start| text.starts_with(start)) {
        return Err("is not an absolute path");
    }
    if text == "/" {
        return Err("is the root of the host");
    }
    Ok(())
}

fn check_word(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("is empty")
    } else if text.starts_with('-') {
        Err("begins with `-`, which other programs read as a flag")
    } else if text.chars().any(char::is_control) {
        Err("has control characters")
    } else {
        Ok(())
    }
}

fn checked(
    reader: &mut TableReader<'_>,
    key: &'static str,
    check: fn(&str) -> Result<(), &'static str>,
    problems: &mut Problems,
) -> Option<Located<String>> {
    let text = reader.string(key, problems)?;
    let at = reader.location(&text.span());
    if let Err(reason) = check(text.get_ref()) {
        let shown = text.get_ref().escape_debug();
        problems.push(Problem::at(at, format!("`{key}` \"{shown}\" {reason}")));
        return None;
    }
    Some(Located::new(text.into_inner(), at))
}

/// Takes one word of a list; a word of `not_built` is refused as such.
fn word<T: Copy>(
    reader: &mut TableReader<'_>,
    key: &'static str,
    choices: &[(&'static str, T)],
    not_built: &[&str],
    problems: &mut Problems,
) -> Option<Located<T>> {
    let value = reader.value(key)?;
    let at = reader.location(&value.span);
    if let Kind::String(text) = &value.kind
        && not_built.contains(&text.as_str())
    {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        problems.push(
            Problem::at(at, format!("`{key} = \"{text}\"` is not built yet"))
                .help(format!("use one of: {}", words.join(", "))),
        );
        return None;
    }
    reader
        .choice(key, choices, problems)
        .map(|choice| Located::new(choice, at))
}

fn time(reader: &mut TableReader<'_>, key: &'static str, problems: &mut Problems) -> Option<Located<u64>> {
    let span = reader.value(key)?.span.clone();
    let time_ms = reader.duration_ms(key, problems)?;
    let at = reader.location(&span);
    if !(1..=TIME_MS_MAX).contains(&time_ms) {
        problems.push(Problem::at(at, format!("`{key}` is out of range")).help("use 1ms to 24h"));
        return None;
    }
    Some(Located::new(time_ms, at))
}

/// Reads `identity`: an array of paths, or one path.
fn identity(reader: &mut TableReader<'_>, problems: &mut Problems) -> Option<Located<Vec<PathBuf>>> {
    let value = reader.value("identity")?;
    let at = reader.location(&value.span);
    let texts = match &value.kind {
        Kind::String(text) => vec![Spanned::new(value.span.clone(), text.clone())],
        _ => reader.strings("identity", problems)?,
    };
    let mut paths = Vec::new();
    for text in texts {
        if text.get_ref().is_empty() {
            problems.push(Problem::at(
                reader.location(&text.span()),
                "`identity` names an empty path",
            ));
            continue;
        }
        paths.push(resolve(&at, text.get_ref()));
    }
    Some(Located::new(paths, at))
}

/// Resolves a path against the folder of the file it stands in; `~/` is the shell's to expand.
fn resolve(at: &Location, text: &str) -> PathBuf {
    if text == "~" || text.starts_with("~/") {
        return PathBuf::from(text);
    }
    match at.file.path.parent() {
        Some(folder) => folder.join(text),
        None => PathBuf::from(text),
    }
}

/// Reads `password = { env = "NAME" }`. A password itself is refused, and not repeated in the message.
fn password(reader: &mut TableReader<'_>, problems: &mut Problems) -> Option<Located<SecretRef>> {
    const HELP: &str = "write password = { env = \"NAME\" } and set that environment variable";
    let value = reader.value("password")?;
    let at = reader.location(&value.span);
    let Kind::Table(table) = &value.kind else {
        // The span would show the secret in the excerpt: point at its first byte.
        let start = value.span.start;
        let place = reader.location(&(start..start));
        problems.push(Problem::at(place, "a password can't stand in a file").help(HELP));
        return None;
    };
    let mut inner = TableReader::new(&at.file, table, "`password`");
    let name = inner.string("env", problems);
    inner.finish(&["file", "command", "vault", "prompt"], problems);
    let name = name.or_else(|| {
        if table.get("env").is_none() {
            problems.push(Problem::at(at.clone(), "`password` has no `env`").help(HELP));
        }
        None
    })?;
    if name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']) {
        let place = reader.location(&name.span());
        problems.push(Problem::at(place, "`env` of `password` is no name of an environment variable").help(HELP));
        return None;
    }
    Some(Located::new(SecretRef::Env(name.into_inner()), at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::SourceFile;
    use crate::document;
    use std::path::Path;

    fn read(text: &str) -> (SshSettings, Vec<String>) {
        let mut problems = Problems::new();
        let file = SourceFile::new("conf/holdfast.toml", text);
        let table = document::parse(&file, &mut problems);
        let mut reader = TableReader::new(&file, &table, "`[ssh]`");
        let settings = SshSettings::read(&mut reader, &mut problems);
        reader.finish(SshSettings::NOT_BUILT, &mut problems);
        (settings, problems.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_key_is_read() {
        let (settings, problems) = read(
            "address = '{{ name }}.x'\nport = 2222\nuser = 'ops'\nvia = 'agent'\nbecome = 'sudo'\n\
             identity = ['~/.ssh/a', 'keys/b', '/k']\npassword = { env = 'PW' }\n\
             host_keys = 'accept-new'\nconnect_timeout = '3s'\nhandshake_timeout = '4s'\n\
             auth_timeout = '5s'\nstate_dir = '~/.hf'\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let host = settings.resolve();
        assert_eq!(host.address.expect("set").value, "{{ name }}.x");
        assert_eq!((host.port, host.user.as_deref()), (2222, Some("ops")));
        assert_eq!((host.via, host.becomes), (Via::Agent, Become::Sudo));
        assert_eq!(
            host.identity,
            [Path::new("~/.ssh/a"), Path::new("conf/keys/b"), Path::new("/k")]
        );
        assert_eq!(host.password, Some(SecretRef::Env("PW".to_owned())));
        assert_eq!(host.host_keys, HostKeys::AcceptNew);
        let timeouts = [host.connect_timeout_ms, host.handshake_timeout_ms, host.auth_timeout_ms];
        assert_eq!(timeouts, [Some(3_000), Some(4_000), Some(5_000)]);
        assert_eq!(host.state_dir.expect("set").value, "~/.hf");
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        let (_, problems) = read("jump = ['b']\ncrypto = 'legacy'\nvia = 'docker'\nbecome = 'doas'\n");
        assert_eq!(
            problems,
            [
                "conf/holdfast.toml:3:7: `via = \"docker\"` is not built yet; use one of: ssh, agent, local",
                "conf/holdfast.toml:4:10: `become = \"doas\"` is not built yet; use one of: none, sudo",
                "conf/holdfast.toml:1:1: `jump` of `[ssh]` is not built yet; remove the key: this version refuses it rather than ignore it",
                "conf/holdfast.toml:2:1: `crypto` of `[ssh]` is not built yet; remove the key: this version refuses it rather than ignore it",
            ]
        );
    }

    #[test]
    fn a_password_in_the_file_is_refused_and_not_repeated() {
        let (settings, problems) = read("password = 'hunter2'\n");
        assert_eq!(settings.password, None);
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].contains("hunter2"), "{}", problems[0]);
    }

    #[test]
    fn values_that_other_programs_could_misread_are_refused() {
        let (settings, problems) =
            read("address = '-oProxyCommand=x'\nuser = 'a b'\nstate_dir = 'var'\nconnect_timeout = '0s'\nport = 0\n");
        assert!(settings.is_empty());
        assert_eq!(problems.len(), 5, "{problems:?}");
    }

    #[test]
    fn the_stronger_layer_wins_key_by_key() {
        let (strong, _) = read("port = 1\n");
        let (weak, _) = read("port = 2\nuser = 'weak'\n");
        let host = strong.over(&weak).resolve();
        assert_eq!((host.port, host.user.as_deref()), (1, Some("weak")));
    }
}
