//! What every file of a host is: type, mode, owner and digest, so that two moments can be compared.
//!
//! The host is an overlay on an image, so only what its upper layer ever had can differ from the image: a snapshot
//! reads that, and the comparison looks at the image for the rest.

use crate::bed::BedHost;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What is not compared, each with its why.
pub const EXCLUDED: [(&str, &str); 23] = [
    ("var/log", "logs grow whatever we do"),
    ("var/cache", "caches of the package managers and of man pages"),
    (
        "var/lib/dpkg",
        "dpkg's own database: it notes that a package was there once",
    ),
    (
        "var/lib/apt",
        "apt's lists and the marks of what was installed as a dependency",
    ),
    ("var/lib/rpm", "rpm's own database"),
    ("root/.rpmdb", "rpm's own database, where Debian's rpm keeps it"),
    (
        "etc/init.d/.depend.boot",
        "insserv's cache, written anew whenever a script comes or goes",
    ),
    ("etc/init.d/.depend.start", "insserv's cache"),
    ("etc/init.d/.depend.stop", "insserv's cache"),
    ("usr/lib/sysimage/rpm", "rpm's own database, at its newer place"),
    ("var/lib/dnf", "dnf's history of transactions"),
    ("var/lib/systemd", "random seeds, timers' stamps, the catalogue"),
    ("var/lib/holdfast", "state_dir: where Holdfast keeps its own things"),
    ("run", "what the running system notes of itself"),
    ("proc", "the kernel's"),
    ("sys", "the kernel's"),
    ("dev", "made at boot"),
    ("tmp", "temporary by name"),
    ("var/tmp", "temporary by name"),
    ("etc/mtab", "the running system's mounts"),
    (
        "etc/machine-id",
        "made at the first boot, perhaps while the first snapshot is taken",
    ),
    ("etc/.pwd.lock", "the empty lock file that useradd leaves"),
    (
        "var/spool/cron",
        "its folder's times and modes are crontab's; the entries are compared by the test itself",
    ),
];

/// The copies of account files that useradd and its like keep of the state before their last change.
const ACCOUNT_COPIES: [&str; 6] = [
    "etc/passwd-",
    "etc/shadow-",
    "etc/group-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
];

/// What one path is; `absent` if nothing is there.
type Look = String;

/// A moment of a host's file system.
pub struct Snapshot {
    looks: BTreeMap<PathBuf, Look>,
}

impl Snapshot {
    /// Reads everything that differs from the image.
    pub fn take(host: &BedHost) -> Self {
        let paths = paths(host);
        Self {
            looks: paths
                .into_iter()
                .map(|path| (path.clone(), look(&host.root.join(&path))))
                .collect(),
        }
    }

    /// Lists what changed until now: `path: before -> after`.
    pub fn differences(&self, host: &BedHost) -> Vec<String> {
        let mut paths = paths(host);
        paths.extend(self.looks.keys().cloned());
        paths
            .into_iter()
            .filter_map(|path| {
                let before = self
                    .looks
                    .get(&path)
                    .cloned()
                    .unwrap_or_else(|| look(&host.image.join(&path)));
                let after = look(&host.root.join(&path));
                (before != after).then(|| format!("{}:/{}: {before} -> {after}", host.name, path.display()))
            })
            .collect()
    }
}

fn is_excluded(path: &Path) -> bool {
    EXCLUDED.iter().any(|(excluded, _)| path.starts_with(excluded))
        || ACCOUNT_COPIES.iter().any(|copy| path == Path::new(copy))
}

/// Lists what may differ from the image. A folder that was removed and made again hides what the image has in it.
fn paths(host: &BedHost) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    walk(&host.upper, Path::new(""), &mut paths);
    for folder in paths.clone() {
        for name in fs::read_dir(host.image.join(&folder)).into_iter().flatten().flatten() {
            let path = folder.join(name.file_name());
            if !is_excluded(&path) {
                paths.insert(path);
            }
        }
    }
    paths
}

fn walk(root: &Path, inside: &Path, paths: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(root.join(inside)).into_iter().flatten().flatten() {
        let path = inside.join(entry.file_name());
        if is_excluded(&path) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(root, &path, paths);
        }
        paths.insert(path);
    }
}

fn look(path: &Path) -> Look {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return "absent".to_owned();
    };
    let kind = meta.file_type();
    let what = if kind.is_symlink() {
        format!(
            "symlink to {}",
            fs::read_link(path)
                .map(|to| to.display().to_string())
                .unwrap_or_default()
        )
    } else if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_file() {
        let bytes = fs::read(path).unwrap_or_default();
        format!("file of {} bytes, {}", bytes.len(), digest(&bytes))
    } else if kind.is_char_device() || kind.is_block_device() {
        "device".to_owned()
    } else {
        "socket or pipe".to_owned()
    };
    format!("{what}, {:04o}, {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid())
}

/// Gives the SHA-256 of bytes, in hex.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
