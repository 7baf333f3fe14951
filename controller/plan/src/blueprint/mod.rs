//! Blueprints: from TOML text to resources whose values may still hold templates, in the order written.
//!
//! Reports every problem of a file at once. Knows no host: [`crate::desired`] fills the values in.

mod check;
mod common;
pub(crate) mod fill;
pub(crate) mod folded;
mod reader;
mod schedule;
pub(crate) mod text;
mod types;

pub use fill::Files;
pub use folded::HostProblems;

use crate::address::{Address, ResourceType};
use crate::resource::DesiredResource;
use crate::sh::VariableName;
use fill::Filler;
use holdfast_inventory::diagnostic::{Location, Problem, Problems, SourceFile, suggest};
use holdfast_inventory::document::{self, Entry, Kind, Table};
use holdfast_inventory::vars::{self, Origin, Vars};
use reader::Reader;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use text::{FileRef, LineEnds, ShText, Text};
use types::Spec;

/// One blueprint file.
#[derive(Debug, Clone)]
pub struct Blueprint {
    file: Arc<SourceFile>,
    /// The pattern of the whole blueprint; `None`: every host.
    pub(crate) on: Option<Pattern>,
    /// Its defaults.
    pub(crate) vars: Vars,
    /// Its resources, in the order written.
    pub(crate) resources: Vec<Declared>,
    /// Addresses that were declared and could not be read: needs on them are not reported once more.
    pub(crate) broken: BTreeSet<Address>,
}

/// A pattern of hosts as written.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    pub(crate) at: Location,
}

/// One declared resource.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) address: Address,
    /// Its name in the header.
    pub(crate) at: Location,
    pub(crate) declared_at: String,
    pub(crate) on: Option<Pattern>,
    pub(crate) needs: Vec<Need>,
    pub(crate) restart_on: Vec<Need>,
    pub(crate) env: Vec<(VariableName, Text)>,
    pub(crate) ready: Option<ReadySpec>,
    pub(crate) timeout_ms: u64,
    pub(crate) sensitive: bool,
    pub(crate) prevent_undo: bool,
    pub(crate) line_ends: LineEnds,
    pub(crate) critical: Option<bool>,
    pub(crate) spec: Spec,
}

/// A need as written.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub(crate) address: Address,
    pub(crate) at: Location,
}

/// A ready probe as written.
#[derive(Debug, Clone)]
pub(crate) struct ReadySpec {
    pub(crate) check: ShText,
    pub(crate) timeout_ms: u64,
    pub(crate) every_ms: u64,
}

/// A file that a blueprint names and that the shell has to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The path, joined to the folder of the blueprint.
    pub path: PathBuf,
    /// The place that names it.
    pub at: Location,
}

/// Parses one blueprint; problems go to `problems` in the order of their places, and what could be read is returned.
///
/// [`crate::desired::Desired::build`] takes what was returned even so, to find the problems that only show on hosts.
pub fn parse(file: &Arc<SourceFile>, problems: &mut Problems) -> Blueprint {
    let before = problems.0.len();
    let blueprint = read(file, problems);
    problems.0[before..].sort_by_key(|problem| problem.at.as_ref().map(|at| at.span.start));
    blueprint
}

fn read(file: &Arc<SourceFile>, problems: &mut Problems) -> Blueprint {
    let document = document::parse(file, problems);
    let mut blueprint = Blueprint {
        file: Arc::clone(file),
        on: None,
        vars: Vars::new(),
        resources: Vec::new(),
        broken: BTreeSet::new(),
    };
    let mut named: Vec<(Address, &Entry)> = Vec::new();
    for entry in &document.entries {
        match entry.key.as_str() {
            "on" => blueprint.on = read_on(file, entry, problems),
            "vars" => blueprint.vars = read_vars(file, entry, problems),
            word => match (ResourceType::from_word(word), &entry.value.kind) {
                (Some(kind), Kind::Table(table)) => {
                    named.extend(
                        table
                            .entries
                            .iter()
                            .map(|inner| (Address::new(kind, &inner.key), inner)),
                    );
                }
                (Some(_), other) => {
                    let at = Location::new(file, entry.value.span.clone());
                    let message = format!("`{word}` must be a table, not of type {}", other.name());
                    problems.push(Problem::at(at, message).help(format!("write [{word}.name]")));
                }
                (None, _) => problems.push(unknown_word(file, entry)),
            },
        }
    }
    // The map of the document regroups by type; the order written is that of the places.
    named.sort_by_key(|(_, entry)| entry.key_span.start);
    for (address, entry) in named {
        match read_resource(file, &address, entry, problems) {
            Some(declared) => blueprint.resources.push(declared),
            None => {
                blueprint.broken.insert(address);
            }
        }
    }
    blueprint
}

impl Blueprint {
    /// Lists the files that the shell has to read for this blueprint, in the order named; one may come twice.
    pub fn references(&self) -> Vec<Reference> {
        let refs = self.file_refs().into_iter();
        refs.map(|file| Reference {
            path: file.path.clone(),
            at: file.at.clone(),
        })
        .collect()
    }

    /// Lists the files that it names.
    pub(crate) fn file_refs(&self) -> Vec<&FileRef> {
        let mut refs = Vec::new();
        for declared in &self.resources {
            refs.extend(declared.files());
        }
        refs
    }

    /// The file it was parsed from.
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }
}

impl Declared {
    /// Lists the user's own sh, that of `ready` included.
    pub(crate) fn sh_texts(&self) -> Vec<&ShText> {
        let mut texts = self.spec.sh_texts();
        texts.extend(self.ready.as_ref().map(|ready| &ready.check));
        texts
    }

    /// Lists the files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &FileRef> {
        let sh = self.sh_texts().into_iter().filter_map(|sh| match sh {
            ShText::File(file) => Some(file),
            ShText::Inline { .. } => None,
        });
        self.spec.files().into_iter().chain(sh)
    }

    /// Fills the values in for the filler's host; `None` if that has faults, which were reported.
    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<DesiredResource> {
        filler.line_ends = self.line_ends;
        let env: Vec<Option<String>> = self.env.iter().map(|(_, value)| filler.text(value)).collect();
        let env: Option<Vec<String>> = env.into_iter().collect();
        let env = env.map(|values| {
            let names = self.env.iter().map(|(name, _)| name.clone());
            names.zip(values).collect::<Vec<_>>()
        });
        let ready = match &self.ready {
            None => Some(None),
            Some(ready) => ready.fill(filler).map(Some),
        };
        let resource = self
            .spec
            .fill(filler, &self.address.name, env.as_deref().unwrap_or(&[]));
        Some(DesiredResource {
            address: self.address.clone(),
            resource: resource?,
            needs: self.needs.iter().map(|need| need.address.clone()).collect(),
            restart_on: self.restart_on.iter().map(|need| need.address.clone()).collect(),
            env: env?,
            ready: ready?,
            timeout_ms: self.timeout_ms,
            sensitive: self.sensitive,
            prevent_undo: self.prevent_undo,
            critical: self.critical,
            declared_at: self.declared_at.clone(),
        })
    }
}

impl ReadySpec {
    fn fill(&self, filler: &mut Filler<'_>) -> Option<crate::resource::Ready> {
        Some(crate::resource::Ready {
            check: filler.sh(&self.check)?.to_string(),
            timeout_ms: self.timeout_ms,
            every_ms: self.every_ms,
        })
    }
}

fn read_on(file: &Arc<SourceFile>, entry: &Entry, problems: &mut Problems) -> Option<Pattern> {
    let at = Location::new(file, entry.value.span.clone());
    match &entry.value.kind {
        Kind::String(text) => Some(Pattern { text: text.clone(), at }),
        other => {
            let message = format!("`on` must be a string, not of type {}", other.name());
            problems.push(Problem::at(at, message).help("write a pattern such as \"web:&prod\""));
            None
        }
    }
}

fn unknown_word(file: &Arc<SourceFile>, entry: &Entry) -> Problem {
    let words: Vec<&str> = ResourceType::ALL.into_iter().map(ResourceType::word).collect();
    let problem = Problem::at(
        Location::new(file, entry.key_span.clone()),
        format!("unknown resource type `{}`", entry.key.escape_debug()),
    );
    match suggest(&entry.key, words.iter().copied().chain(["on", "vars"])) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help(format!("a blueprint holds `on`, `vars` and: {}", words.join(", "))),
    }
}

fn read_resource(
    file: &Arc<SourceFile>,
    address: &Address,
    entry: &Entry,
    problems: &mut Problems,
) -> Option<Declared> {
    let before = problems.0.len();
    let at = Location::new(file, entry.key_span.clone());
    if let Err(complaint) = check::resource_name(&address.name) {
        let word = address.kind.word();
        let message = format!(
            "the name of [{word}.\"{}\"] {}",
            address.name.escape_debug(),
            complaint.message
        );
        problems.push(Problem::at(at, message).help(complaint.help));
        return None;
    }
    let Kind::Table(table) = &entry.value.kind else {
        let place = Location::new(file, entry.value.span.clone());
        let message = format!("{address} must be a table, not of type {}", entry.value.kind.name());
        problems.push(Problem::at(place, message).help(format!("write [{address}] and its keys below")));
        return None;
    };
    if let Some(dotted) = dotted_name(table) {
        let message = format!("the name `{}.{}` has a dot", address.name, dotted.key);
        let place = Location::new(file, dotted.key_span.clone());
        let quoted = format!("[{}.\"{}.{}\"]", address.kind.word(), address.name, dotted.key);
        problems.push(Problem::at(place, message).help(format!("quote it: {quoted}")));
        return None;
    }
    let mut reader = Reader::new(file, table, address, entry.key_span.clone(), problems);
    let spec = Spec::read(address.kind, &mut reader);
    let common = common::read(&mut reader, address.kind);
    reader.finish(not_built(address.kind));
    if problems.0.len() > before {
        return None;
    }
    let common::Common {
        on,
        needs,
        restart_on,
        env,
        ready,
        timeout_ms,
        sensitive,
        prevent_undo,
        line_ends,
        critical,
    } = common;
    let (line, _) = file.line_column(entry.key_span.start);
    Some(Declared {
        address: address.clone(),
        declared_at: format!("{}:{line}", file.path.display()),
        at,
        on,
        needs,
        restart_on,
        env,
        ready,
        timeout_ms,
        sensitive: sensitive || spec.as_ref().is_some_and(Spec::is_sensitive),
        prevent_undo,
        line_ends,
        critical,
        spec: spec?,
    })
}

/// Finds a table below a resource that is no value of a key: `[package.python3.11]` without quotes.
fn dotted_name(table: &Table) -> Option<&Entry> {
    let tables_of_keys = ["env", "ready", "check", "apply", "undo"];
    match &table.entries[..] {
        [only] if matches!(only.value.kind, Kind::Table(_)) && !tables_of_keys.contains(&only.key.as_str()) => {
            Some(only)
        }
        _ => None,
    }
}

/// Keys of the format that this version refuses by name.
fn not_built(kind: ResourceType) -> &'static [&'static str] {
    match kind {
        ResourceType::Line => &["follow"],
        ResourceType::Package => &["version"],
        _ => &[],
    }
}

fn read_vars(file: &Arc<SourceFile>, entry: &Entry, problems: &mut Problems) -> Vars {
    let Kind::Table(table) = &entry.value.kind else {
        let at = Location::new(file, entry.value.span.clone());
        let message = format!("`vars` must be a table, not of type {}", entry.value.kind.name());
        problems.push(Problem::at(at, message).help("write [vars] and its values below"));
        return Vars::new();
    };
    vars::read(file, table, &Origin::Blueprint, problems)
}

/// Names a span for the modules below.
type Span = Range<usize>;
