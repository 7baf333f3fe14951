//! Groups: named sets of hosts that may contain other groups.
//!
//! Their order is the order of their layers: parents before children, then by name (the depth of a group is the
//! longest way to it, as Ansible counts it). Reading groups out of a text is the formats' duty.

use crate::diagnostic::{Location, Problem, Problems, suggest};
use crate::formats::{GroupDeclaration, Layer, Reference};
use crate::host::HostName;
use crate::inventory::absorb;
use crate::range;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    name: Arc<str>,
    declared_at: Location,
    pub(crate) layer: Layer,
    /// Indexes of the groups it names.
    pub(crate) children: Vec<usize>,
    /// Indexes of the hosts it names itself, ascending.
    pub(crate) own_hosts: Vec<usize>,
    /// Indexes of all its hosts, ascending.
    pub(crate) members: Vec<usize>,
    has_parent: bool,
}

impl Group {
    /// Shows the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shows where the group is declared first.
    pub fn declared_at(&self) -> &Location {
        &self.declared_at
    }

    /// Tells how many hosts are in it, through other groups too.
    pub fn host_count(&self) -> usize {
        self.members.len()
    }

    /// Shows the variables that the group sets.
    pub fn vars(&self) -> &crate::vars::Vars {
        &self.layer.vars
    }
}

/// One line of the tree of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeLine<'a> {
    /// How deep it stands; `all` is at 0.
    pub depth: usize,
    /// What stands there.
    pub node: TreeNode<'a>,
}

/// What stands on a line of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeNode<'a> {
    /// A group; `all` is the root.
    Group {
        /// Its name.
        name: &'a str,
        /// Whether it stands further up with all that is in it, which is not repeated here.
        repeated: bool,
    },
    /// The hosts that the group above names itself (under `all`: those in no group), in the inventory's order.
    Hosts(Vec<&'a HostName>),
}

/// Joins the declarations of groups; gives them in the order of their layers.
pub(crate) fn build(
    declarations: Vec<GroupDeclaration>,
    hosts: &HashMap<HostName, usize>,
    problems: &mut Problems,
) -> Vec<Group> {
    let mut by_name: BTreeMap<String, Vec<GroupDeclaration>> = BTreeMap::new();
    for declaration in declarations {
        by_name.entry(declaration.name.clone()).or_default().push(declaration);
    }
    let names: Vec<String> = by_name.keys().cloned().collect();
    let indexes: HashMap<&str, usize> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), index))
        .collect();
    let mut groups = Vec::new();
    let mut edges: Vec<Vec<(usize, Location)>> = Vec::new();
    for (name, declarations) in by_name {
        let at = declarations[0].at.clone();
        if hosts.contains_key(name.as_str()) {
            problems.push(
                Problem::at(at.clone(), format!("`{name}` names both a host and a group"))
                    .help("rename one of them: a pattern could mean either"),
            );
        }
        let mut own_hosts = BTreeSet::new();
        let mut children: Vec<(usize, Location)> = Vec::new();
        let mut layer = Layer::default();
        for declaration in declarations {
            let what = format!("group `{name}`");
            for reference in &declaration.hosts {
                own_hosts.extend(find_hosts(reference, &what, hosts, &indexes, problems));
            }
            for reference in declaration.groups {
                let child = find_group(&reference, &what, hosts, &indexes, problems);
                if let Some(child) = child.filter(|child| children.iter().all(|(known, _)| known != child)) {
                    children.push((child, reference.at));
                }
            }
            absorb(&mut layer, declaration.layer, &declaration.at, &what, problems);
        }
        edges.push(children);
        groups.push(Group {
            name: name.into(),
            declared_at: at,
            layer,
            children: Vec::new(),
            own_hosts: own_hosts.into_iter().collect(),
            members: Vec::new(),
            has_parent: false,
        });
    }
    order(groups, edges, problems)
}

fn find_hosts(
    reference: &Reference,
    what: &str,
    hosts: &HashMap<HostName, usize>,
    groups: &HashMap<&str, usize>,
    problems: &mut Problems,
) -> Vec<usize> {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for name in &reference.names {
        match hosts.get(name.as_str()) {
            Some(index) => found.push(*index),
            None => unknown.push(name.as_str()),
        }
    }
    if unknown.is_empty() {
        return found;
    }
    let help = match unknown.as_slice() {
        [name] if groups.contains_key(name) => format!("`{name}` is a group: name it in `groups`"),
        [name] => match suggest(name, hosts.keys().map(HostName::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it: [hosts.{name}]"),
        },
        _ => "declare them in `[hosts]`".to_owned(),
    };
    let message = match unknown.as_slice() {
        [name] => format!("{what} names the unknown host `{name}`"),
        _ => format!("{what} names unknown hosts: `{}`", range::fold(&unknown)),
    };
    problems.push(Problem::at(reference.at.clone(), message).help(help));
    found
}

fn find_group(
    reference: &Reference,
    what: &str,
    hosts: &HashMap<HostName, usize>,
    groups: &HashMap<&str, usize>,
    problems: &mut Problems,
) -> Option<usize> {
    let name = reference.word.as_str();
    if let Some(index) = groups.get(name) {
        return Some(*index);
    }
    let help = if hosts.contains_key(name) || range::is_range(name) {
        format!("`{}` means hosts: name it in `hosts`", name.escape_debug())
    } else {
        match suggest(name, groups.keys().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it: [groups.{}]", name.escape_debug()),
        }
    };
    let message = format!("{what} names the unknown group `{}`", name.escape_debug());
    problems.push(Problem::at(reference.at.clone(), message).help(help));
    None
}

/// Sorts the groups by depth and name, finds cycles on the way (and cuts each where it closes, so that the rest can
/// be checked too), and gathers the members.
fn order(groups: Vec<Group>, mut edges: Vec<Vec<(usize, Location)>>, problems: &mut Problems) -> Vec<Group> {
    let depths = loop {
        match depths_of(&edges) {
            Ok(depths) => break depths,
            Err(cycle) => {
                let names: Vec<&str> = cycle.iter().map(|index| groups[*index].name()).collect();
                let (last, first) = (cycle[cycle.len() - 1], cycle[0]);
                let edge = edges[last].iter().position(|(child, _)| *child == first);
                let (_, at) = edges[last].remove(edge.expect("the cycle was found along the edges"));
                let message = match names.as_slice() {
                    [name] => format!("group `{name}` contains itself"),
                    _ => format!(
                        "groups contain each other: {} -> {first}",
                        names.join(" -> "),
                        first = names[0]
                    ),
                };
                problems.push(Problem::at(at, message).help("remove one of the memberships"));
            }
        }
    };
    // The groups come sorted by name, and the sort is stable.
    let mut sorted: Vec<usize> = (0..groups.len()).collect();
    sorted.sort_by_key(|index| depths[*index]);
    let mut place_of = vec![0; groups.len()];
    for (place, index) in sorted.iter().enumerate() {
        place_of[*index] = place;
    }
    let mut placed: Vec<Option<Group>> = groups.into_iter().map(Some).collect();
    let mut groups: Vec<Group> = sorted
        .iter()
        .map(|index| {
            let mut group = placed[*index].take().expect("each index stands once in the order");
            group.children = edges[*index].iter().map(|(child, _)| place_of[*child]).collect();
            group
        })
        .collect();
    for index in (0..groups.len()).rev() {
        let mut members: BTreeSet<usize> = groups[index].own_hosts.iter().copied().collect();
        for child in groups[index].children.clone() {
            members.extend(&groups[child].members);
            groups[child].has_parent = true;
        }
        groups[index].members = members.into_iter().collect();
    }
    groups
}

/// Computes the longest way to each group, or finds a cycle (its groups, each containing the next).
fn depths_of(edges: &[Vec<(usize, Location)>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut parents: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (parent, children) in edges.iter().enumerate() {
        for (child, _) in children {
            parents[*child].push(parent);
        }
    }
    let mut waiting: Vec<usize> = parents.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> = (0..edges.len()).filter(|index| waiting[*index] == 0).collect();
    let mut depths = vec![0; edges.len()];
    let mut done = 0;
    while let Some(parent) = ready.pop() {
        done += 1;
        for (child, _) in &edges[parent] {
            depths[*child] = depths[*child].max(depths[parent] + 1);
            waiting[*child] -= 1;
            if waiting[*child] == 0 {
                ready.push(*child);
            }
        }
    }
    if done == edges.len() {
        return Ok(depths);
    }
    // Who still waits has a parent that still waits: going up must come round.
    let start = waiting.iter().position(|count| *count > 0).expect("somebody waits");
    let mut way = vec![start];
    loop {
        let here = way[way.len() - 1];
        let parent = parents[here].iter().copied().find(|parent| waiting[*parent] > 0);
        let parent = parent.expect("who waits, waits for a parent that waits");
        if let Some(place) = way.iter().position(|index| *index == parent) {
            let mut cycle = way.split_off(place);
            cycle.reverse();
            // The groups are sorted by name: begin with the first, so that the message is the same every time.
            let first = (0..cycle.len()).min_by_key(|place| cycle[*place]).unwrap_or(0);
            cycle.rotate_left(first);
            return Err(cycle);
        }
        way.push(parent);
    }
}

/// Draws the tree of groups under `all`. A group that stands in several places is drawn whole only once.
pub(crate) fn tree<'a>(groups: &'a [Group], hosts: &'a [crate::Host]) -> Vec<TreeLine<'a>> {
    let names = |indexes: &[usize]| -> Vec<&'a HostName> { indexes.iter().map(|index| &hosts[*index].name).collect() };
    let mut lines = vec![TreeLine {
        depth: 0,
        node: TreeNode::Group {
            name: "all",
            repeated: false,
        },
    }];
    let grouped: BTreeSet<usize> = groups.iter().flat_map(|group| &group.own_hosts).copied().collect();
    let alone: Vec<usize> = (0..hosts.len()).filter(|index| !grouped.contains(index)).collect();
    let mut shown = BTreeSet::new();
    let tops = (0..groups.len()).filter(|index| !groups[*index].has_parent);
    let mut stack: Vec<(usize, usize)> = tops.rev().map(|index| (index, 1)).collect();
    while let Some((index, depth)) = stack.pop() {
        let group = &groups[index];
        let repeated = !shown.insert(index);
        let name = group.name();
        let node = TreeNode::Group { name, repeated };
        lines.push(TreeLine { depth, node });
        if repeated {
            continue;
        }
        if !group.own_hosts.is_empty() {
            let node = TreeNode::Hosts(names(&group.own_hosts));
            lines.push(TreeLine { depth: depth + 1, node });
        }
        stack.extend(group.children.iter().rev().map(|child| (*child, depth + 1)));
    }
    if !alone.is_empty() {
        let node = TreeNode::Hosts(names(&alone));
        lines.push(TreeLine { depth: 1, node });
    }
    lines
}
