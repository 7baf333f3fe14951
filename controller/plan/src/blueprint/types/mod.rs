//! One file per type: which keys it has, and how its values are filled in.

mod cron;
mod directory;
mod file;
mod group;
mod line;
mod package;
mod script;
mod service;
mod symlink;
mod user;

use super::fill::Filler;
use super::reader::Reader;
use super::text::{FileRef, ShText, Text};
use crate::address::ResourceType;
use crate::resource::Resource;
use crate::sh::VariableName;

/// A resource of any type whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) enum Spec {
    File(file::FileSpec),
    Directory(directory::DirectorySpec),
    Symlink(symlink::SymlinkSpec),
    Line(line::LineSpec),
    Package(package::PackageSpec),
    Service(service::ServiceSpec),
    User(user::UserSpec),
    Group(group::GroupSpec),
    Cron(cron::CronSpec),
    Script(script::ScriptSpec),
}

impl Spec {
    /// Reads the keys of one type; what is wrong goes to the reader's problems.
    pub(super) fn read(kind: ResourceType, reader: &mut Reader<'_>) -> Option<Self> {
        Some(match kind {
            ResourceType::File => Spec::File(file::FileSpec::read(reader)?),
            ResourceType::Directory => Spec::Directory(directory::DirectorySpec::read(reader)?),
            ResourceType::Symlink => Spec::Symlink(symlink::SymlinkSpec::read(reader)?),
            ResourceType::Line => Spec::Line(line::LineSpec::read(reader)?),
            ResourceType::Package => Spec::Package(package::PackageSpec::read(reader)?),
            ResourceType::Service => Spec::Service(service::ServiceSpec::read(reader)?),
            ResourceType::User => Spec::User(user::UserSpec::read(reader)?),
            ResourceType::Group => Spec::Group(group::GroupSpec::read(reader)?),
            ResourceType::Cron => Spec::Cron(cron::CronSpec::read(reader)?),
            ResourceType::Script => Spec::Script(script::ScriptSpec::read(reader)?),
        })
    }

    /// Fills the values in for one host; what is wrong goes to the filler's problems.
    pub(crate) fn fill(&self, filler: &mut Filler<'_>, name: &str, env: &[(VariableName, String)]) -> Option<Resource> {
        match self {
            Spec::File(spec) => spec.fill(filler),
            Spec::Directory(spec) => spec.fill(filler),
            Spec::Symlink(spec) => spec.fill(filler),
            Spec::Line(spec) => spec.fill(filler),
            Spec::Package(spec) => spec.fill(filler),
            Spec::Service(spec) => spec.fill(filler),
            Spec::User(spec) => spec.fill(filler),
            Spec::Group(spec) => spec.fill(filler),
            Spec::Cron(spec) => spec.fill(filler, name),
            Spec::Script(spec) => spec.fill(filler, name, env),
        }
    }

    /// Lists the files that the shell has to read, sh apart.
    pub(crate) fn files(&self) -> Vec<&FileRef> {
        match self {
            Spec::File(spec) => spec.references().collect(),
            _ => Vec::new(),
        }
    }

    /// Lists the user's own sh.
    pub(crate) fn sh_texts(&self) -> Vec<&ShText> {
        match self {
            Spec::Script(spec) => spec.sh_texts().collect(),
            Spec::File(spec) => spec.sh_texts().collect(),
            Spec::Line(spec) => spec.sh_texts().collect(),
            _ => Vec::new(),
        }
    }

    /// Gives the command of a crontab entry.
    pub(crate) fn cron_command(&self) -> Option<&Text> {
        match self {
            Spec::Cron(spec) => spec.command.as_ref(),
            _ => None,
        }
    }

    /// Tells whether what it holds is never shown.
    pub(crate) fn is_sensitive(&self) -> bool {
        matches!(self, Spec::File(spec) if spec.sensitive)
    }
}
