//! What a known_hosts file says: hashed names, `[host]:port`, wildcards, negation, `@revoked`.
//!
//! Pure. The rules are those of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT": a line that can't be read is skipped, never
//! the file. `@cert-authority` lines are skipped too: Holdfast asks for no certificates.
//!
//! ```text
//! plain names     found by name, whatever the file's size
//! wildcards       tried one by one, in the order of the file
//! hashed names    one HMAC per line and name: no index can do better, since each line has a salt of its own
//! ```

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One known_hosts file, indexed by the names of its lines.
#[derive(Debug, Default)]
pub(crate) struct KnownHostsFile {
    path: PathBuf,
    text: String,
    lines: usize,
    plain: HashMap<Box<str>, Vec<Line>>,
    globs: Vec<Line>,
    hashed: Vec<Hashed>,
}

/// A line of the file: its number from 1, and where its text stands.
#[derive(Debug, Clone)]
struct Line {
    number: u32,
    text: Range<u32>,
}

#[derive(Debug)]
struct Hashed {
    /// Keyed with the line's salt: that is half the work, and the same for every name.
    salted: Hmac<Sha1>,
    hash: [u8; 20],
    line: Line,
}

/// What the files say of one key of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A line has exactly this key.
    Known,
    /// No line is about this host.
    Unknown,
    /// Lines are about this host, and none has this key.
    Changed { place: Place, known: String },
    /// A line declares this key unsafe.
    Revoked { place: Place },
}

/// A line of a file, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Marker {
    None,
    Revoked,
    CertAuthority,
}

/// A line about one host.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    place: Place,
    marker: Marker,
    key: PublicKey,
}

/// Writes a host as known_hosts files name it: `host`, or `[host]:port` off port 22.
pub(crate) fn host_name(address: &str, port: u16) -> String {
    let address = address.to_ascii_lowercase();
    if port == 22 {
        address
    } else {
        format!("[{address}]:{port}")
    }
}

impl KnownHostsFile {
    /// Indexes the text of a file.
    pub(crate) fn new(path: &Path, text: &str) -> Self {
        let mut file = Self {
            path: path.to_path_buf(),
            ..Self::default()
        };
        file.append(text);
        file
    }

    /// Takes what was added to the end of the file.
    pub(crate) fn append(&mut self, text: &str) {
        let text = match text.strip_prefix('\n') {
            Some(rest) if self.ends_within_a_line() => {
                self.text.push('\n');
                rest
            }
            _ => text,
        };
        let mut start = self.text.len();
        self.text.push_str(text);
        for piece in text.split_inclusive('\n') {
            self.lines += 1;
            let line = Line {
                // Files are bounded far below 4 GiB when they are read.
                number: u32::try_from(self.lines).unwrap_or(u32::MAX),
                text: u32::try_from(start).unwrap_or(u32::MAX)..u32::try_from(start + piece.len()).unwrap_or(u32::MAX),
            };
            start += piece.len();
            self.index(piece.trim(), line);
        }
    }

    fn index(&mut self, text: &str, line: Line) {
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        let number = line.number;
        let names = split(text).and_then(|(_, hosts, _)| hosts.parse::<HostPatterns>().ok());
        match names {
            None => tracing::warn!(file = %self.path.display(), line = number, "skipped: not a known_hosts line"),
            Some(HostPatterns::HashedName { salt, hash }) => {
                if let Ok(salted) = Hmac::<Sha1>::new_from_slice(&salt) {
                    self.hashed.push(Hashed { salted, hash, line });
                }
            }
            Some(HostPatterns::Patterns(patterns)) if patterns.iter().any(|name| name.contains(['*', '?', '!'])) => {
                self.globs.push(line);
            }
            Some(HostPatterns::Patterns(names)) => {
                for name in names {
                    let lines = self.plain.entry(name.to_ascii_lowercase().into()).or_default();
                    if lines.last().is_none_or(|last| last.number != number) {
                        lines.push(line.clone());
                    }
                }
            }
        }
    }

    /// How many hashed lines there are: each costs a search one HMAC.
    pub(crate) fn hashed_lines(&self) -> usize {
        self.hashed.len()
    }

    /// Tells whether another text has to begin on a line of its own.
    pub(crate) fn ends_within_a_line(&self) -> bool {
        !self.text.is_empty() && !self.text.ends_with('\n')
    }

    /// Finds the lines about a name, in the order of the file.
    pub(crate) fn matches(&self, name: &str) -> Vec<Match> {
        let plain = self.plain.get(name).into_iter().flatten();
        let globs = self
            .globs
            .iter()
            .filter(|line| split(self.text_of(line)).is_some_and(|(_, hosts, _)| matches_globs(hosts, name)));
        let hashed = self
            .hashed
            .iter()
            .filter(|hashed| is_hash_of(hashed, name))
            .map(|hashed| &hashed.line);
        let mut lines: Vec<&Line> = plain.chain(globs).chain(hashed).collect();
        lines.sort_by_key(|line| line.number);
        lines.into_iter().filter_map(|line| self.read(line)).collect()
    }

    fn text_of(&self, line: &Line) -> &str {
        self.text[line.text.start as usize..line.text.end as usize].trim()
    }

    fn read(&self, line: &Line) -> Option<Match> {
        let (marker, _, key) = split(self.text_of(line))?;
        match PublicKey::from_openssh(&key) {
            Ok(key) => Some(Match {
                place: Place {
                    file: self.path.clone(),
                    line: line.number as usize,
                },
                marker,
                key,
            }),
            Err(error) => {
                tracing::warn!(file = %self.path.display(), line = line.number, %error, "skipped: the key can't be read");
                None
            }
        }
    }
}

fn split(line: &str) -> Option<(Marker, &str, String)> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    let (marker, hosts) = match first {
        "@revoked" => (Marker::Revoked, words.next()?),
        "@cert-authority" => (Marker::CertAuthority, words.next()?),
        other if other.starts_with('@') => return None,
        hosts => (Marker::None, hosts),
    };
    let algorithm = words.next()?;
    let base64 = words.next()?;
    Some((marker, hosts, format!("{algorithm} {base64}")))
}

fn is_hash_of(hashed: &Hashed, name: &str) -> bool {
    let mut mac = hashed.salted.clone();
    mac.update(name.as_bytes());
    mac.verify_slice(&hashed.hash).is_ok()
}

/// Tells whether a list of names, wildcards and negations means `name`.
fn matches_globs(hosts: &str, name: &str) -> bool {
    let mut matched = false;
    for pattern in hosts.split(',') {
        let pattern = pattern.to_ascii_lowercase();
        if let Some(pattern) = pattern.strip_prefix('!') {
            if glob(pattern.as_bytes(), name.as_bytes()) {
                return false;
            }
        } else {
            matched |= glob(pattern.as_bytes(), name.as_bytes());
        }
    }
    matched
}

/// Matches `*` (any bytes) and `?` (one byte); everything else stands for itself. Linear in memory, and in time
/// at most pattern times name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((star_p, star_n)) = star {
            star = Some((star_p, star_n + 1));
            p = star_p + 1;
            n = star_n + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// What all files say of one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    /// Lines about the host with its port.
    named: Vec<Match>,
    /// Lines about the host without a port, where nothing is known of it with its port.
    vouching: Vec<Match>,
}

impl Findings {
    /// Asks `matches` for the lines about a name.
    ///
    /// As OpenSSH does: a line without a port vouches for its key on every port, and only vouches. Where a line with
    /// the port decides, it is not looked for.
    pub(crate) fn of<E>(
        address: &str,
        port: u16,
        mut matches: impl FnMut(&str) -> Result<Vec<Match>, E>,
    ) -> Result<Self, E> {
        let named = matches(&host_name(address, port))?;
        let decided = named.iter().any(|found| found.marker == Marker::None);
        let vouching = if port == 22 || decided {
            Vec::new()
        } else {
            matches(&host_name(address, 22))?
        };
        Ok(Self { named, vouching })
    }

    /// Judges a key that the host showed.
    ///
    /// A host known only by keys of other types counts as changed: it is asked for those types first, so a host that
    /// still had one of them would have shown it.
    pub(crate) fn judge(&self, key: &PublicKey) -> Verdict {
        let same = |found: &&Match| found.key.key_data() == key.key_data();
        let mut known = false;
        for found in self.named.iter().chain(&self.vouching).filter(same) {
            match found.marker {
                Marker::Revoked => {
                    return Verdict::Revoked {
                        place: found.place.clone(),
                    };
                }
                Marker::None => known = true,
                Marker::CertAuthority => {}
            }
        }
        if known {
            return Verdict::Known;
        }
        // The most telling line is one of the same type: that is the key that was replaced.
        let others = || self.named.iter().filter(|found| found.marker == Marker::None);
        let other = others()
            .find(|found| found.key.algorithm() == key.algorithm())
            .or_else(|| others().next());
        match other {
            Some(other) => Verdict::Changed {
                place: other.place.clone(),
                known: fingerprint(&other.key),
            },
            None => Verdict::Unknown,
        }
    }

    /// Lists the types of the keys that are known for the host, so that these are asked for first.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = Vec::new();
        for found in self.named.iter().chain(&self.vouching) {
            let algorithm = found.key.algorithm();
            if found.marker == Marker::None && !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        algorithms
    }
}

/// Shows a key's SHA-256 fingerprint as ssh-keygen does.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Writes one line for a host and its key.
pub(crate) fn line(address: &str, port: u16, key: &PublicKey) -> io::Result<String> {
    let mut bare = key.clone();
    bare.set_comment("");
    let key = bare.to_openssh().map_err(io::Error::other)?;
    Ok(format!("{} {}\n", host_name(address, port), key.trim_end()))
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
