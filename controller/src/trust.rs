//! Whose files may run as us: a project's checks, scripts and executables do, so a project that somebody else put
//! into a folder above ours must not be picked up (git had it as CVE-2022-24765).
//!
//! A project that was only *found* has to belong to the user or to root, with every file that it loads, and others
//! must not be able to write any of it. A project that is *named* with `-C` is trusted: whoever names it means it.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The mode bit that lets everybody write.
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// The mode bit of a folder in which nobody can replace what belongs to others.
const STICKY: u32 = 0o1000;

/// Whose files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The project was named: its files are meant.
    Named,
    /// The project was found: only files of these users are read.
    Found {
        /// User ids: ours, root's, and under sudo that of who called it.
        users: Vec<u32>,
    },
}

/// Why a file or folder is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    /// What is not read.
    pub path: PathBuf,
    /// Why.
    pub why: Why,
}

/// What is wrong with a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It belongs to somebody else.
    Owner(u32),
    /// Everybody can write it.
    Writable,
}

impl std::fmt::Display for Distrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.why {
            Why::Owner(uid) => write!(f, "{} belongs to user {uid}, not to you or root", self.path.display()),
            Why::Writable => write!(f, "{} can be written by everybody", self.path.display()),
        }
    }
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not ours.
    #[error("{0}")]
    Distrust(Distrust),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is longer than the caller takes.
    #[error("it has {bytes} bytes; the limit is {max}")]
    TooLong {
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
}

impl Trust {
    /// Trusts what belongs to root, to us, and to whoever became root through sudo to run us.
    pub fn found() -> Self {
        let me = rustix::process::geteuid();
        let mut users = vec![0, me.as_raw()];
        let caller = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse::<u32>().ok());
        users.extend(caller.filter(|_| me.is_root()));
        Self::Found { users }
    }

    /// Checks a file or folder.
    pub fn check(&self, path: &Path, found: &Metadata) -> Result<(), Distrust> {
        self.why_not(found.uid(), found.mode(), found.is_dir())
            .map_or(Ok(()), |why| {
                Err(Distrust {
                    path: path.to_owned(),
                    why,
                })
            })
    }

    fn why_not(&self, owner: u32, mode: u32, is_folder: bool) -> Option<Why> {
        let Self::Found { users } = self else { return None };
        if !users.contains(&owner) {
            Some(Why::Owner(owner))
        } else if mode & WRITABLE_BY_OTHERS != 0 && !(is_folder && mode & STICKY != 0) {
            Some(Why::Writable)
        } else {
            None
        }
    }

    /// Checks a folder by its path.
    pub fn check_folder(&self, path: &Path) -> Result<(), ReadError> {
        self.check(path, &fs::metadata(path)?).map_err(ReadError::Distrust)
    }

    /// Reads a file, after it and the folder it lies in were checked; what was checked is what is read.
    pub fn read(&self, path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
        let mut file = File::open(path)?;
        let found = file.metadata()?;
        self.check(path, &found).map_err(ReadError::Distrust)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            self.check_folder(folder)?;
        }
        if found.len() > max {
            return Err(ReadError::TooLong {
                bytes: found.len(),
                max,
            });
        }
        let mut bytes = Vec::new();
        file.by_ref().take(max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a text.
    pub fn read_text(&self, path: &Path, max: u64) -> Result<String, ReadError> {
        String::from_utf8(self.read(path, max)?)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn found(users: &[u32]) -> Trust {
        Trust::Found { users: users.to_vec() }
    }

    // REVIEW D1
    #[test]
    fn what_belongs_to_others_or_can_be_written_by_them_is_trusted_only_when_it_was_named() {
        let me = found(&[0, 1000]);
        assert_eq!(me.why_not(1000, 0o100_644, false), None);
        assert_eq!(me.why_not(0, 0o100_644, false), None, "root can do anything anyway");
        assert_eq!(me.why_not(1001, 0o100_644, false), Some(Why::Owner(1001)));
        assert_eq!(me.why_not(1000, 0o100_666, false), Some(Why::Writable));
        assert_eq!(me.why_not(1000, 0o40_777, true), Some(Why::Writable));
        assert_eq!(me.why_not(0, 0o41_777, true), None, "nobody can replace a file in /tmp");
        assert_eq!(
            me.why_not(1000, 0o101_666, false),
            Some(Why::Writable),
            "the bit means nothing on files"
        );
        assert_eq!(me.why_not(1000, 0o100_664, false), None, "a group is somebody's choice");
        assert_eq!(Trust::Named.why_not(1001, 0o100_666, false), None);
    }

    // REVIEW D1
    #[test]
    fn a_file_in_a_folder_that_everybody_can_write_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.toml");
        fs::write(&file, "x").expect("written");
        let trust = Trust::found();
        assert_eq!(trust.read_text(&file, 10).expect("it is ours"), "x");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("ours");
        let refused = trust.read_text(&file, 10).expect_err("others could have put it there");
        assert_eq!(
            refused.to_string(),
            format!("{} can be written by everybody", folder.path().display())
        );
        assert_eq!(Trust::Named.read_text(&file, 10).expect("it was named"), "x");
    }

    #[test]
    fn a_file_past_the_limit_is_told_with_its_length() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        fs::write(&file, "12345").expect("written");
        let refused = Trust::Named.read(&file, 4).expect_err("too long");
        assert_eq!(refused.to_string(), "it has 5 bytes; the limit is 4");
    }
}
