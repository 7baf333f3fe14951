//! The formats of inventories: each turns a text into [`Declarations`], and knows nothing of the other files.
//!
//! What the declarations mean together (ranges that overlap, members that don't exist, cycles) is found in
//! `inventory` and `group`, once for all formats.

mod toml;

use crate::diagnostic::{Location, Problem, Problems, SourceFile};
use crate::settings::SshSettings;
use crate::vars::Vars;
use std::sync::Arc;

/// What the files declare, in the order written.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    /// `[all]`, once per file that has it.
    pub(crate) all: Vec<(Location, Layer)>,
    /// Hosts and ranges of hosts.
    pub(crate) hosts: Vec<HostDeclaration>,
    /// Groups.
    pub(crate) groups: Vec<GroupDeclaration>,
}

/// What one declaration sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    pub(crate) settings: SshSettings,
    pub(crate) vars: Vars,
}

/// One host, or a range of hosts.
#[derive(Debug)]
pub(crate) struct HostDeclaration {
    /// As written: `web01` or `web[01-20]`.
    pub(crate) word: String,
    /// The names it stands for; all can be names.
    pub(crate) names: Vec<String>,
    pub(crate) at: Location,
    pub(crate) layer: Layer,
}

/// One group, or what one file says of it.
#[derive(Debug)]
pub(crate) struct GroupDeclaration {
    pub(crate) name: String,
    pub(crate) at: Location,
    pub(crate) hosts: Vec<Reference>,
    pub(crate) groups: Vec<Reference>,
    pub(crate) layer: Layer,
}

/// A host, a range of hosts or a group named by a group.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) word: String,
    /// The names it stands for.
    pub(crate) names: Vec<String>,
    pub(crate) at: Location,
}

/// Reads one file into `declarations`; the format is told by the file's name.
pub(crate) fn read(file: &Arc<SourceFile>, declarations: &mut Declarations, problems: &mut Problems) {
    let extension = file.path.extension().and_then(|extension| extension.to_str());
    let format = match extension {
        Some("toml") => return toml::read(file, declarations, problems),
        Some("ini" | "cfg" | "yml" | "yaml" | "json") | None => "Ansible inventories are",
        Some("conf" | "ssh_config") => "inventories from ssh_config are",
        Some(_) => "inventories other than TOML are",
    };
    let name = file.path.display();
    problems.push(
        Problem::at(
            Location::new(file, 0..0),
            format!("can't read `{name}`: {format} not built yet"),
        )
        .help("write the inventory as a file that ends in .toml"),
    );
}
