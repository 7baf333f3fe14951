//! A plan in a file: the plan and the bytes it needs, so that it can be carried out without the project's files.

use crate::cli::error::{CliError, CliResult};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_plan::change::Plan;
use holdfast_plan::content::Blobs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
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
            .filter_map(|change| change.step.as_ref())
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

    /// Writes it, readable by its owner alone: it holds the contents of files.
    pub fn write(&self, path: &Path) -> CliResult<()> {
        let text = serde_json::to_string(self).expect("plans hold strings, numbers, lists and string-keyed maps");
        let doing = |error: std::io::Error| CliError::doing(format!("write {}", path.display()), &error);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(doing)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(doing)
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
        Ok((saved.plan, blobs))
    }
}
