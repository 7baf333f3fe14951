//! Blueprints: from TOML text to resources whose values may still hold templates, in the order written.
//!
//! Reports every problem of a file at once. Knows no host: [`crate::desired`] fills the templates in.

use holdfast_inventory::diagnostic::{Location, Problems, SourceFile};
use std::path::PathBuf;
use std::sync::Arc;

/// One blueprint file.
#[derive(Debug, Clone)]
pub struct Blueprint {
    pub(crate) file: Arc<SourceFile>,
}

/// A file that a blueprint names and that the shell has to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The path, joined to the folder of the blueprint.
    pub path: PathBuf,
    /// The place that names it.
    pub at: Location,
}

/// Parses one blueprint; problems go to `problems`, and what could be read is returned.
pub fn parse(file: &Arc<SourceFile>, problems: &mut Problems) -> Blueprint {
    let _ = holdfast_inventory::document::parse(file, problems);
    Blueprint { file: Arc::clone(file) }
}

impl Blueprint {
    /// Lists the files that the shell has to read for this blueprint.
    pub fn references(&self) -> Vec<Reference> {
        Vec::new()
    }

    /// The file it was parsed from.
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }
}
