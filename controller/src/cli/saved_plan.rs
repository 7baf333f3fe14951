//! A plan in a file: the plan and the bytes it needs, so that it can be carried out without the project's files.

use crate::cli::error::{CliError, CliResult};
use crate::redact;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_plan::change::Plan;
use holdfast_plan::content::Blobs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// The version of the file's format.
const SCHEMA: u32 = 1;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedPlan {
    schema: u32,
    plan: Plan,
    blobs: BTreeMap<String, String>,
}

impl SavedPlan {
    /// Joins a plan and the blobs that its steps read.
    pub fn of(plan: &Plan, blobs: &Blobs) -> Self {
        let used = plan
            .hosts
            .iter()
            .flat_map(|host| &host.changes)
            .flat_map(|change| &change.steps)
            .flat_map(|step| &step.blobs);
        let blobs = used
            .filter_map(|sha256| Some((sha256.clone(), STANDARD.encode(blobs.get(sha256)?))))
            .collect();
        Self {
            schema: SCHEMA,
            plan: plan.clone(),
            blobs,
        }
    }

    /// Writes it, readable by its owner alone, since it holds the contents of files. An existing file is replaced by a
    /// new one, so that its mode and whoever has it open gain nothing; a pipe or terminal is written to.
    pub fn write(&self, path: &Path) -> CliResult<()> {
        let text = serde_json::to_string(self).expect("plans hold strings, numbers, lists and string-keyed maps");
        write(path, text.as_bytes()).map_err(|error| CliError::doing(format!("write {}", path.display()), &error))
    }

    /// Reads one back, and checks each blob against its digest.
    pub fn read(path: &Path) -> CliResult<(Plan, Blobs)> {
        let text =
            fs::read_to_string(path).map_err(|error| CliError::doing(format!("read {}", path.display()), &error))?;
        let not_a_plan = |why: String| {
            CliError::hinted(
                format!("{} is not a plan of this version: {why}", path.display()),
                "make it anew: holdfast plan -o FILE",
            )
        };
        let saved: Self = serde_json::from_str(&text).map_err(|error| not_a_plan(error.to_string()))?;
        if saved.schema != SCHEMA {
            return Err(not_a_plan(format!("schema {}", saved.schema)));
        }
        let mut blobs = Blobs::default();
        for (sha256, text) in saved.blobs {
            let bytes = STANDARD.decode(text).map_err(|error| not_a_plan(error.to_string()))?;
            if blobs.insert(bytes).sha256 != sha256 {
                return Err(not_a_plan(format!("the content {sha256} is damaged")));
            }
        }
        let hosts = saved.plan.hosts.iter();
        let sensitive: Vec<_> = hosts
            .flat_map(|host| &host.changes)
            .map(|change| &change.desired)
            .collect();
        redact::keep(sensitive.iter().copied());
        redact::keep_contents(sensitive.into_iter(), &blobs);
        Ok((saved.plan, blobs))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return fs::OpenOptions::new().write(true).open(path)?.write_all(bytes),
        _ => {}
    }
    // Where a link points to is what is meant.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Its mode is 0600 from the start.
    let mut draft = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    draft.write_all(bytes)?;
    draft.as_file().sync_all()?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    // REVIEW D6
    #[test]
    fn a_plan_in_the_place_of_another_file_is_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("web.plan");
        let link = folder.path().join("latest");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        symlink("web.plan", &link).expect("a link");
        let mut reader = fs::File::open(&path).expect("it can be read");
        write(&link, b"new").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(
            fs::symlink_metadata(&link).expect("there").is_symlink(),
            "the link stays"
        );
        let mut seen = String::new();
        reader.read_to_string(&mut seen).expect("it reads");
        assert_eq!(seen, "old", "who had it open sees nothing of the plan");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 2, "no draft stays");
    }

    #[test]
    fn a_device_is_written_to_and_stays() {
        write(Path::new("/dev/null"), b"x").expect("written");
        assert!(!fs::metadata("/dev/null").expect("there").is_file());
    }
}
