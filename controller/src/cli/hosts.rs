//! `holdfast hosts`: lists hosts, their variables with where each comes from, or the tree of groups.

use crate::cli::args::{Global, HostsArgs};
use crate::cli::error::CliResult;
use crate::load::{Project, Scope};
use crate::view::fold;
use crate::view::terminal::{data, data_line};
use holdfast_inventory::{HostName, Inventory, TreeLine, TreeNode};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::iter::Peekable;

/// Runs the command.
pub fn run(global: &Global, args: &HostsArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let hosts = project.select(args.pattern.as_deref())?;
    if args.graph {
        let tree = tree(&project.inventory, &hosts.iter().collect());
        if global.json {
            let document = json!({ "schema": 1, "graph": tree.document() });
            data_line(&serde_json::to_string_pretty(&document).expect("made of strings, lists and a flag"));
        } else {
            data(&tree.text());
        }
        return Ok(0);
    }
    if !global.json {
        for host in &hosts {
            data_line(host.as_str());
        }
        return Ok(0);
    }
    let targets = project.targets(&hosts)?;
    let listed: Vec<Value> = targets
        .iter()
        .map(|target| {
            let name = target.name.as_str();
            let groups: Vec<&str> = project
                .inventory
                .groups_of(name)
                .map(holdfast_inventory::Group::name)
                .collect();
            json!({
                "name": name,
                "address": target.address,
                "port": target.port,
                "user": target.user,
                "groups": groups,
                "vars": vars(&project.inventory, name),
            })
        })
        .collect();
    let document = json!({ "schema": 1, "hosts": listed });
    data_line(&serde_json::to_string_pretty(&document).expect("made of strings and numbers"));
    Ok(0)
}

/// Each variable with its value, the layer it comes from, and the place.
fn vars(inventory: &Inventory, host: &str) -> Map<String, Value> {
    let vars = inventory.vars_of(host).unwrap_or_default();
    vars.into_iter()
        .map(|(name, var)| {
            let at = var.at.map(|at| at.to_string());
            (name, json!({ "value": var.value, "from": var.origin, "at": at }))
        })
        .collect()
}

/// A group with what is in it.
struct Group<'a> {
    name: &'a str,
    /// It stands further up with all that is in it.
    repeated: bool,
    hosts: Vec<HostName>,
    groups: Vec<Group<'a>>,
}

/// Draws the groups that have any of the selected hosts, and only those hosts in them.
fn tree<'a>(inventory: &'a Inventory, selected: &BTreeSet<&HostName>) -> Group<'a> {
    let lines = inventory.tree();
    let mut lines = lines.into_iter().peekable();
    let mut root = Group {
        name: "all",
        repeated: false,
        hosts: Vec::new(),
        groups: Vec::new(),
    };
    lines.next();
    fill(&mut root, 1, inventory, selected, &mut lines);
    root
}

fn fill<'a>(
    group: &mut Group<'a>,
    depth: usize,
    inventory: &'a Inventory,
    selected: &BTreeSet<&HostName>,
    lines: &mut Peekable<impl Iterator<Item = TreeLine<'a>>>,
) {
    while let Some(line) = lines.next_if(|line| line.depth >= depth) {
        match line.node {
            TreeNode::Hosts(hosts) => {
                let chosen = hosts.into_iter().filter(|host| selected.contains(host));
                group.hosts.extend(chosen.cloned());
            }
            TreeNode::Group { name, repeated } => {
                let mut below = Group {
                    name,
                    repeated,
                    hosts: Vec::new(),
                    groups: Vec::new(),
                };
                fill(&mut below, depth + 1, inventory, selected, lines);
                // A group that nobody is in yet is shown where nothing is narrowed down.
                let whole = selected.len() == inventory.hosts().len();
                if whole || inventory.members(name).any(|host| selected.contains(&host.name)) {
                    group.groups.push(below);
                }
            }
        }
    }
}

impl Group<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        self.write(0, &mut text);
        text
    }

    fn write(&self, depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth);
        let mark = if self.repeated { " (shown above)" } else { "" };
        text.push_str(&format!("{indent}@{}{mark}\n", self.name));
        // Hosts of no group stand under `all`, after the groups.
        let hosts_last = depth == 0;
        let hosts = |text: &mut String| {
            if !self.hosts.is_empty() {
                text.push_str(&format!("{indent}  {}\n", fold::title(&self.hosts)));
            }
        };
        if !hosts_last {
            hosts(text);
        }
        for group in &self.groups {
            group.write(depth + 1, text);
        }
        if hosts_last {
            hosts(text);
        }
    }

    fn document(&self) -> Value {
        let groups: Vec<Value> = self.groups.iter().map(Group::document).collect();
        json!({ "name": self.name, "repeated": self.repeated, "hosts": self.hosts, "groups": groups })
    }
}
