//! Inventories in TOML: `[all]`, `[hosts.NAME]`, `[hosts."web[01-20]"]`, `[groups.NAME]`.

use super::{Declarations, GroupDeclaration, HostDeclaration, Layer, Reference};
use crate::diagnostic::{Location, Problem, Problems, SourceFile};
use crate::document::{self, Entry, Kind, Table, TableReader};
use crate::host::{NameError, check_name};
use crate::range;
use crate::settings::SshSettings;
use crate::vars::{self, Origin, Vars};
use std::sync::Arc;

/// Reads one file.
pub(super) fn read(file: &Arc<SourceFile>, declarations: &mut Declarations, problems: &mut Problems) {
    let document = document::parse(file, problems);
    let mut reader = TableReader::new(file, &document, "an inventory");
    if let Some(table) = reader.table("all", problems) {
        let mut all = TableReader::new(file, table, "`[all]`");
        let layer = read_layer(&mut all, file, &Origin::All, problems);
        all.finish(SshSettings::NOT_BUILT, problems);
        let span = document
            .get("all")
            .map_or(table.span.clone(), |entry| entry.key_span.clone());
        declarations.all.push((Location::new(file, span), layer));
    }
    if let Some(table) = reader.table("hosts", problems) {
        for (entry, table) in tables_of(file, table, "host", problems) {
            declarations.hosts.extend(read_host(file, entry, table, problems));
        }
    }
    if let Some(table) = reader.table("groups", problems) {
        for (entry, table) in tables_of(file, table, "group", problems) {
            declarations.groups.extend(read_group(file, entry, table, problems));
        }
    }
    reader.finish(&["include", "plugin"], problems);
}

/// Gives the entries of a table that are tables themselves; the others are problems.
fn tables_of<'a>(
    file: &Arc<SourceFile>,
    table: &'a Table,
    what: &str,
    problems: &mut Problems,
) -> Vec<(&'a Entry, &'a Table)> {
    let mut tables = Vec::new();
    for entry in &table.entries {
        match &entry.value.kind {
            Kind::Table(table) => tables.push((entry, table)),
            other => problems.push(
                Problem::at(
                    Location::new(file, entry.value.span.clone()),
                    format!("{what} `{}` must be a table, not {}", shown(&entry.key), other.name()),
                )
                .help(format!("write [{what}s.NAME] and its keys below")),
            ),
        }
    }
    tables
}

fn read_layer(reader: &mut TableReader<'_>, file: &Arc<SourceFile>, origin: &Origin, problems: &mut Problems) -> Layer {
    let vars = match reader.table("vars", problems) {
        Some(table) => vars::read(file, table, origin, problems),
        None => Vars::new(),
    };
    let settings = SshSettings::read(reader, problems);
    Layer { settings, vars }
}

fn read_host(file: &Arc<SourceFile>, entry: &Entry, table: &Table, problems: &mut Problems) -> Option<HostDeclaration> {
    let at = Location::new(file, entry.key_span.clone());
    let names = expand(&entry.key, &at, problems);
    let mut reader = TableReader::new(file, table, format!("host `{}`", shown(&entry.key)));
    let layer = read_layer(&mut reader, file, &Origin::Host, problems);
    reader.finish(SshSettings::NOT_BUILT, problems);
    let word = entry.key.clone();
    let names = names?;
    Some(HostDeclaration { word, names, at, layer })
}

fn read_group(
    file: &Arc<SourceFile>,
    entry: &Entry,
    table: &Table,
    problems: &mut Problems,
) -> Option<GroupDeclaration> {
    let at = Location::new(file, entry.key_span.clone());
    let name = match check_name(&entry.key) {
        Ok(()) => Some(entry.key.clone()),
        Err(error) => {
            problems.push(bad_name("group", &entry.key, error, &at));
            None
        }
    };
    let mut reader = TableReader::new(file, table, format!("group `{}`", shown(&entry.key)));
    let mut references = |key, has_ranges: bool, problems: &mut Problems| -> Vec<Reference> {
        let words = reader.strings(key, problems).unwrap_or_default();
        let words = words
            .into_iter()
            .map(|word| (reader.location(&word.span()), word.into_inner()));
        words
            .filter_map(|(at, word)| {
                let names = if has_ranges {
                    expand(&word, &at, problems)?
                } else {
                    vec![word.clone()]
                };
                Some(Reference { word, names, at })
            })
            .collect()
    };
    let hosts = references("hosts", true, problems);
    let groups = references("groups", false, problems);
    let origin = Origin::Group(entry.key.as_str().into());
    let layer = read_layer(&mut reader, file, &origin, problems);
    reader.finish(SshSettings::NOT_BUILT, problems);
    Some(GroupDeclaration {
        name: name?,
        at,
        hosts,
        groups,
        layer,
    })
}

/// Gives the names that a word stands for, if all of them can be names.
fn expand(word: &str, at: &Location, problems: &mut Problems) -> Option<Vec<String>> {
    let names = match range::expand(word) {
        Ok(names) => names,
        Err(error) => {
            let place = at.within(word, &error.span);
            let mut problem = Problem::at(place, format!("can't read the range `{}`: {}", shown(word), error.kind));
            problem.help = error.kind.help().map(str::to_owned);
            problems.push(problem);
            return None;
        }
    };
    for name in &names {
        if let Err(error) = check_name(name) {
            problems.push(bad_name("host", name, error, at));
            return None;
        }
    }
    Some(names)
}

fn bad_name(what: &str, name: &str, error: NameError, at: &Location) -> Problem {
    let help = match error {
        NameError::Reserved if what == "group" => "write [all]",
        NameError::Character('*' | '?') => "name the hosts, or use a range such as `web[01-20]`",
        NameError::Character(':') => "give the host a plain name and put this into `address`",
        _ => "use letters, digits, `.`, `_` and `-`, and begin with a letter or a digit",
    };
    Problem::at(at.clone(), format!("`{}` can't name a {what}: {error}", shown(name))).help(help)
}

fn shown(word: &str) -> String {
    word.escape_debug().to_string()
}
