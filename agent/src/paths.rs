//! Where the agent keeps its files, and how it writes them so that a kill or a power cut at any point leaves either
//! the old or the new.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The agent's files: `STATE/agent/{lock,probes,probed,spool/}`.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// `STATE`.
    pub(crate) state: PathBuf,
}

/// Why an agent file could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathError {
    /// No state folder was given and there is no home.
    #[error("HOME is not set; say where the agent may keep its files with --state-dir DIR, an absolute path")]
    NoHome,
    /// A file or folder.
    #[error("failed to {doing} {}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl Paths {
    /// Takes the given state folder (a leading `~` is the home) or the default: `/var/lib/holdfast` for root, `~/.holdfast/HOST` for others,
    /// as the runner has it: homes are on NFS in many places.
    pub(crate) fn new(state_dir: Option<PathBuf>) -> Result<Self, PathError> {
        let state = match state_dir {
            Some(dir) => match dir.strip_prefix("~") {
                Ok(rest) => home()?.join(rest),
                Err(_) => dir,
            },
            None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/holdfast"),
            None => home()?
                .join(".holdfast")
                .join(rustix::system::uname().nodename().to_string_lossy().as_ref()),
        };
        Ok(Self { state })
    }

    fn agent(&self) -> PathBuf {
        self.state.join("agent")
    }

    /// Makes `STATE/agent`, both 0700, if they are missing.
    pub(crate) fn create(&self) -> Result<(), PathError> {
        let agent = self.agent();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&agent)
            .map_err(|source| PathError::Io {
                doing: "make the folder",
                path: agent,
                source,
            })
    }

    /// The file that the daemon holds locked; it holds the daemon's pid.
    pub(crate) fn lock(&self) -> PathBuf {
        self.agent().join("lock")
    }

    /// The kept probes.
    pub(crate) fn probes(&self) -> PathBuf {
        self.agent().join("probes")
    }

    /// When the probes last ran.
    pub(crate) fn probed(&self) -> PathBuf {
        self.agent().join("probed")
    }

    /// The spool.
    pub(crate) fn spool(&self) -> PathBuf {
        self.agent().join("spool")
    }
}

fn home() -> Result<PathBuf, PathError> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from).ok_or(PathError::NoHome)
}

/// Replaces a file durably: temporary file, fsync, rename, fsync of the folder.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    replace(path, bytes, File::sync_all)
}

/// Replaces a file so that readers see the old or the new; a power cut may bring back the old.
pub(crate) fn write_cheaply(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    replace(path, bytes, |_| Ok(()))
}

fn replace(path: &Path, bytes: &[u8], sync: fn(&File) -> io::Result<()>) -> Result<(), PathError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let written = write_private(&temporary, bytes)
        .and_then(|file| sync(&file))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync(&File::open(folder)?));
    if written.is_err() {
        // A full disk must not fill further; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(|source| PathError::Io {
        doing: "write",
        path: path.to_owned(),
        source,
    })
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Reads a file; `None` if it is missing.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, PathError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PathError::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        }),
    }
}
