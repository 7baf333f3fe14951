//! The inventory: hosts and groups as all files together declare them, and the layers of their variables.
//!
//! What one text says is read in `formats`; reading files is the shell's duty.

use crate::diagnostic::{Location, Problem, Problems, SourceFile};
use crate::formats::{self, Declarations, HostDeclaration, Layer};
use crate::group::{self, Group, TreeLine};
use crate::host::{Host, HostName};
use crate::pattern::{Pattern, PatternErrors};
use crate::range;
use crate::settings::SshSettings;
use crate::vars::{Origin, Var, VarValue, Vars};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How many hosts an inventory may have: as many as one range, see [`range::NAMES_MAX`].
pub const HOSTS_MAX: usize = range::NAMES_MAX;

/// Who the fleet is.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// In the order declared.
    hosts: Vec<Host>,
    index: HashMap<HostName, usize>,
    /// In the order of their layers: parents before children, then by name.
    groups: Vec<Group>,
    group_index: HashMap<Arc<str>, usize>,
    /// For each host the indexes of its groups, ascending.
    groups_of: Vec<Vec<usize>>,
    all: Vars,
    extra: Vars,
}

impl Inventory {
    /// Reads inventory files; `defaults` (`[ssh]` of `holdfast.toml`) lie under all layers.
    ///
    /// All problems are reported at once. What could be read is returned with them, so that a caller can go on to
    /// find the problems of its own files; it must not be acted on.
    pub fn read(files: &[Arc<SourceFile>], defaults: &SshSettings) -> (Self, Problems) {
        let mut problems = Problems::new();
        let mut declarations = Declarations::default();
        for file in files {
            formats::read(file, &mut declarations, &mut problems);
        }
        let inventory = Self::build(declarations, defaults, &mut problems);
        (inventory, problems)
    }

    fn build(declarations: Declarations, defaults: &SshSettings, problems: &mut Problems) -> Self {
        let mut all = Layer::default();
        for (at, layer) in declarations.all {
            absorb(&mut all, layer, &at, "`[all]`", problems);
        }
        let declared = declare_hosts(&declarations.hosts, problems);
        let index: HashMap<HostName, usize> = declared
            .iter()
            .enumerate()
            .map(|(index, host)| (host.name.clone(), index))
            .collect();
        let groups = group::build(declarations.groups, &index, problems);
        let mut groups_of = vec![Vec::new(); declared.len()];
        for (group, found) in groups.iter().enumerate() {
            for host in &found.members {
                groups_of[*host].push(group);
            }
        }
        let weakest = all.settings.over(defaults);
        let hosts = declared
            .into_iter()
            .zip(&groups_of)
            .map(|(host, its_groups)| {
                let mut settings = weakest.clone();
                for group in its_groups {
                    settings = groups[*group].layer.settings.over(&settings);
                }
                Host {
                    name: host.name,
                    declared_at: host.at,
                    settings: host.layer.settings.over(&settings).resolve(),
                    vars: host.layer.vars,
                }
            })
            .collect();
        let group_index = groups
            .iter()
            .enumerate()
            .map(|(index, group)| (group.name().into(), index))
            .collect();
        Self {
            hosts,
            index,
            groups,
            group_index,
            groups_of,
            all: all.vars,
            extra: Vars::new(),
        }
    }

    /// Lays the variables of `-e` over all others.
    pub fn set_extra(&mut self, extra: Vars) {
        self.extra = extra;
    }

    /// Lays settings of flags (`-u`, `-b`) over those of every host.
    pub fn override_settings(&mut self, flags: &SshSettings) {
        for host in &mut self.hosts {
            host.settings.override_with(flags);
        }
    }

    /// Shows all hosts, in the order declared.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Finds a host.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.index_of(name).map(|index| &self.hosts[index])
    }

    /// Selects hosts, each once, in the order declared. The selection may be empty.
    ///
    /// # Errors
    /// Every name and glob of the pattern that fits no host and no group.
    pub fn select(&self, pattern: &Pattern) -> Result<Vec<&Host>, PatternErrors> {
        pattern.select(self)
    }

    /// Shows all groups in the order of their layers: parents before children, then by name.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// Finds a group. `all` is not among the groups.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.group_index.get(name).map(|index| &self.groups[*index])
    }

    /// Shows the hosts of a group, through other groups too, in the order declared; empty for an unknown group.
    pub fn members(&self, group: &str) -> impl Iterator<Item = &Host> {
        let indexes = self.member_indexes(group).unwrap_or(&[]);
        indexes.iter().map(|index| &self.hosts[*index])
    }

    /// Shows the groups that a host is in, in the order of their layers; empty for an unknown host.
    pub fn groups_of(&self, host: &str) -> impl Iterator<Item = &Group> {
        let indexes = self.index_of(host).map_or(&[][..], |index| &self.groups_of[index]);
        indexes.iter().map(|index| &self.groups[*index])
    }

    /// Shows the layers of a host's variables, weakest first, the shadowed values included: `[all]`, its groups, the
    /// host, `-e`. The blueprint's `[vars]`, weaker than all, are the core's.
    pub fn layers_of(&self, host: &str) -> Option<Vec<(Origin, &Vars)>> {
        let host = self.host(host)?;
        let mut layers = vec![(Origin::All, &self.all)];
        for group in self.groups_of(host.name.as_str()) {
            layers.push((Origin::Group(group.name().into()), group.vars()));
        }
        layers.push((Origin::Host, &host.vars));
        layers.push((Origin::Extra, &self.extra));
        Some(layers)
    }

    /// Merges the layers of a host's variables, and adds the built-in `name`. `None` for an unknown host.
    pub fn vars_of(&self, host: &str) -> Option<Vars> {
        let mut vars = Vars::new();
        for (_, layer) in self.layers_of(host)? {
            vars.extend(layer.iter().map(|(name, var)| (name.clone(), var.clone())));
        }
        let name = Var {
            value: VarValue::String(host.to_owned()),
            origin: Origin::BuiltIn,
            at: None,
        };
        vars.insert("name".to_owned(), name);
        Some(vars)
    }

    /// Draws the tree of groups under `all`, line by line.
    pub fn tree(&self) -> Vec<TreeLine<'_>> {
        group::tree(&self.groups, &self.hosts)
    }

    pub(crate) fn index_of(&self, host: &str) -> Option<usize> {
        self.index.get(host).copied()
    }

    pub(crate) fn member_indexes(&self, group: &str) -> Option<&[usize]> {
        self.group(group).map(|group| group.members.as_slice())
    }
}

/// A host whose declarations are joined.
struct DeclaredHost {
    name: HostName,
    at: Location,
    layer: Layer,
}

/// Joins the declarations of each host: a declaration by its own name lies over the one by a range.
fn declare_hosts(declarations: &[HostDeclaration], problems: &mut Problems) -> Vec<DeclaredHost> {
    let mut order: Vec<&str> = Vec::new();
    let mut found: HashMap<&str, [Option<usize>; 2]> = HashMap::new();
    // Keyed by the two declarations, so that two ranges are one problem however many hosts they share.
    let mut clashes: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
    for (index, declaration) in declarations.iter().enumerate() {
        let kind = usize::from(!range::is_range(&declaration.word));
        for name in &declaration.names {
            let slots = found.entry(name).or_insert_with(|| {
                order.push(name);
                [None; 2]
            });
            match slots[kind] {
                Some(first) => clashes.entry((index, first)).or_default().push(name),
                None => slots[kind] = Some(index),
            }
        }
    }
    for ((second, first), names) in clashes {
        problems.push(clash(&declarations[second], &declarations[first], &names));
    }
    if order.len() > HOSTS_MAX {
        let last = &declarations[declarations.len() - 1];
        let message = format!("the inventory has {} hosts, more than {HOSTS_MAX}", order.len());
        problems.push(Problem::at(last.at.clone(), message).help("split it into several projects"));
        order.truncate(HOSTS_MAX);
    }
    order
        .into_iter()
        .map(|name| {
            let [by_range, by_name] = found[name].map(|index| index.map(|index| &declarations[index]));
            let layers = [by_range, by_name].into_iter().flatten();
            let mut layer = Layer::default();
            for declaration in layers {
                layer.settings = declaration.layer.settings.over(&layer.settings);
                layer.vars.extend(declaration.layer.vars.clone());
            }
            let at = by_name.or(by_range).map(|declaration| &declaration.at);
            DeclaredHost {
                name: HostName::new(name),
                at: at.expect("a name is found in a declaration").clone(),
                layer,
            }
        })
        .collect()
}

fn clash(second: &HostDeclaration, first: &HostDeclaration, names: &[&str]) -> Problem {
    let place = &first.at;
    if range::is_range(&second.word) {
        Problem::at(
            second.at.clone(),
            format!(
                "the range `{}` overlaps `{}` at {place}: both declare `{}`",
                second.word,
                first.word,
                range::fold(names)
            ),
        )
        .help("declare each host in one range; what differs for one host goes to [hosts.NAME]")
    } else {
        Problem::at(
            second.at.clone(),
            format!("host `{}` is declared twice, first at {place}", second.word),
        )
        .help("join the two tables")
    }
}

/// Adds what another file says to a layer (`what` names it); what both set is a problem.
pub(crate) fn absorb(layer: &mut Layer, more: Layer, at: &Location, what: &str, problems: &mut Problems) {
    for (name, var) in more.vars {
        if let Some(first) = layer.vars.get(&name) {
            let place = first
                .at
                .as_ref()
                .map(|at| format!(", first at {at}"))
                .unwrap_or_default();
            let at = var.at.clone().unwrap_or_else(|| at.clone());
            let message = format!("{what} sets `{name}` twice{place}");
            problems.push(Problem::at(at, message).help("remove one of them"));
            continue;
        }
        layer.vars.insert(name, var);
    }
    if !more.settings.is_empty() && !layer.settings.is_empty() {
        let message = format!("the connection settings of {what} stand in two files");
        problems.push(Problem::at(at.clone(), message).help("keep them in one file"));
    }
    layer.settings = more.settings.over(&layer.settings);
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
