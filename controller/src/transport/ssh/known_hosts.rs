//! Reads and writes known_hosts files: hashed names, `[host]:port`, wildcards, negation, `@revoked`.
//!
//! Pure but for [`record`]. The rules are those of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT": a line that can't be
//! read is skipped, never the file. `@cert-authority` lines are skipped too: Holdfast asks for no certificates.

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A known_hosts file with many times this size is no known_hosts file: 300,000 hosts fit.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One known_hosts file as it was read.
#[derive(Debug, Clone)]
pub(crate) struct KnownHostsFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
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

struct Match {
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
    /// Reads a file; one that does not exist is empty.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let text = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > FILE_BYTES_MAX => {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
            }
            Ok(_) => String::from_utf8_lossy(&std::fs::read(path)?).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_path_buf(),
            text,
        })
    }

    fn matches(&self, name: &str) -> Vec<Match> {
        let mut found = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = || Place {
                file: self.path.clone(),
                line: index + 1,
            };
            let Some((marker, hosts, key)) = split(line) else {
                tracing::warn!(file = %self.path.display(), line = index + 1, "skipped: not a known_hosts line");
                continue;
            };
            if !names(hosts, name) {
                continue;
            }
            match PublicKey::from_openssh(&key) {
                Ok(key) => found.push(Match {
                    place: place(),
                    marker,
                    key,
                }),
                Err(error) => {
                    tracing::warn!(file = %self.path.display(), line = index + 1, %error, "skipped: the key can't be read");
                }
            }
        }
        found
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

/// Tells whether the first field of a line means `name`.
fn names(hosts: &str, name: &str) -> bool {
    match hosts.parse::<HostPatterns>() {
        Ok(HostPatterns::HashedName { salt, hash }) => {
            let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else {
                return false;
            };
            mac.update(name.as_bytes());
            mac.verify_slice(&hash).is_ok()
        }
        Ok(HostPatterns::Patterns(patterns)) => {
            let mut matched = false;
            for pattern in patterns {
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
        Err(_) => false,
    }
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

/// Judges a key that a host showed.
///
/// A host known only by keys of other types counts as changed: it is asked for those types first, so a host that
/// still had one of them would have shown it.
pub(crate) fn judge(files: &[KnownHostsFile], address: &str, port: u16, key: &PublicKey) -> Verdict {
    let name = host_name(address, port);
    let mut known = false;
    let mut other: Option<Match> = None;
    for found in files.iter().flat_map(|file| file.matches(&name)) {
        let same = found.key.key_data() == key.key_data();
        match found.marker {
            Marker::Revoked if same => return Verdict::Revoked { place: found.place },
            Marker::Revoked | Marker::CertAuthority => {}
            Marker::None if same => known = true,
            Marker::None => {
                // The most telling line is one of the same type: that is the key that was replaced.
                let better = other
                    .as_ref()
                    .is_none_or(|o| o.key.algorithm() != key.algorithm() && found.key.algorithm() == key.algorithm());
                if better {
                    other = Some(found);
                }
            }
        }
    }
    if known {
        return Verdict::Known;
    }
    if let Some(other) = other {
        return Verdict::Changed {
            place: other.place,
            known: fingerprint(&other.key),
        };
    }
    if port != 22 {
        // As OpenSSH does: a line without a port vouches for its key on every port, and only vouches.
        let plain = host_name(address, 22);
        for found in files.iter().flat_map(|file| file.matches(&plain)) {
            if found.key.key_data() == key.key_data() {
                match found.marker {
                    Marker::Revoked => return Verdict::Revoked { place: found.place },
                    Marker::None => known = true,
                    Marker::CertAuthority => {}
                }
            }
        }
    }
    if known { Verdict::Known } else { Verdict::Unknown }
}

/// Lists the types of the keys that are known for a host, so that these are asked for first.
pub(crate) fn known_algorithms(files: &[KnownHostsFile], address: &str, port: u16) -> Vec<Algorithm> {
    let mut names = vec![host_name(address, port)];
    if port != 22 {
        names.push(host_name(address, 22));
    }
    let mut algorithms = Vec::new();
    for name in names {
        for found in files.iter().flat_map(|file| file.matches(&name)) {
            let algorithm = found.key.algorithm();
            if found.marker == Marker::None && !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
    }
    algorithms
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

/// Adds a host's key to the file, unless the file says something about the host by now; gives what holds then.
///
/// Blocking. Writers of all processes queue on `FILE.lock`; readers see the old file or the new one, never a part.
pub(crate) fn record(path: &Path, address: &str, port: u16, key: &PublicKey) -> io::Result<Verdict> {
    // A project's file may be a link to one that is shared: the link stays a link.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut lock_path = path.clone().into_os_string();
    lock_path.push(".lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(lock_path)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;

    let file = KnownHostsFile::read(&path)?;
    let verdict = judge(std::slice::from_ref(&file), address, port, key);
    if verdict != Verdict::Unknown {
        return Ok(verdict);
    }
    let mut text = file.text;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&line(address, port, key)?);
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist(&path).map_err(|error| error.error)?;
    Ok(Verdict::Known)
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
