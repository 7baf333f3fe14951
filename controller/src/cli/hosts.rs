//! `holdfast hosts`: lists hosts, their variables with where each comes from, or the tree of groups.

use crate::cli::args::{Global, HostsArgs};
use crate::cli::error::CliResult;
use crate::load::{Project, Scope};
use crate::view::fold;
use crate::view::terminal::{data, data_line};
use holdfast_inventory::{Inventory, TreeNode};
use serde_json::{Map, Value, json};

/// Runs the command.
pub fn run(global: &Global, args: &HostsArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    if args.graph {
        data(&graph(&project.inventory));
        return Ok(0);
    }
    let hosts = project.select(args.pattern.as_deref())?;
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

fn graph(inventory: &Inventory) -> String {
    let mut text = String::new();
    for line in inventory.tree() {
        let indent = "  ".repeat(line.depth);
        match line.node {
            TreeNode::Group { name, repeated } => {
                let mark = if repeated { " (shown above)" } else { "" };
                text.push_str(&format!("{indent}@{name}{mark}\n"));
            }
            TreeNode::Hosts(hosts) => {
                let hosts: Vec<_> = hosts.into_iter().cloned().collect();
                text.push_str(&format!("{indent}{}\n", fold::title(&hosts)));
            }
        }
    }
    text
}
