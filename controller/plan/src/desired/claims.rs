//! What a resource has for itself on a host: its address, and the path, package or account behind it.

use super::Filled;
use crate::address::Address;
use crate::blueprint::folded::HostProblems;
use crate::resource::{Claim, ClaimKind};
use holdfast_inventory::HostName;
use holdfast_inventory::diagnostic::Problem;
use std::collections::HashMap;

fn words(claim: &Claim) -> String {
    let name = &claim.name;
    match (claim.kind, &claim.part) {
        (ClaimKind::Path, None) => format!("the path {name}"),
        (ClaimKind::Path, Some(_)) => format!("the same line of {name}"),
        (ClaimKind::Package, _) => format!("the package {name}"),
        (ClaimKind::Service, _) => format!("the service {name}"),
        (ClaimKind::User, _) => format!("the user {name}"),
        (ClaimKind::Group, _) => format!("the group {name}"),
        (ClaimKind::Cron, _) => format!("the same line of the crontab of {name}"),
    }
}

/// Reports resources that meet on one host, and leaves out those declared twice.
pub(super) fn refuse_doubles<'a>(
    filled: Vec<Filled<'a>>,
    host: &HostName,
    problems: &mut HostProblems,
) -> Vec<Filled<'a>> {
    let mut addresses: HashMap<Address, &'a str> = HashMap::new();
    let mut kept: Vec<Filled<'a>> = Vec::with_capacity(filled.len());
    for one in filled {
        let declared = one.declared;
        if let Some(first) = addresses.get(&declared.address) {
            let message = format!("{} is declared twice for one host", declared.address);
            let help = format!("the first is at {first}; remove one, or narrow one with `on`");
            problems.push(host, Problem::at(declared.at.clone(), message).help(help));
            continue;
        }
        addresses.insert(declared.address.clone(), &declared.declared_at);
        kept.push(one);
    }
    // By the thing as a whole: what has it for itself, and what has parts of it, the first of each.
    let mut wholes: HashMap<(ClaimKind, String), &Filled<'_>> = HashMap::new();
    let mut parts: HashMap<(ClaimKind, String), HashMap<String, &Filled<'_>>> = HashMap::new();
    for one in &kept {
        for claim in one.resource.resource.lifecycle().claims() {
            let thing = (claim.kind, claim.name.clone());
            let with_parts = parts.entry(thing.clone()).or_default();
            let (first, crossing) = match &claim.part {
                Some(part) => match with_parts.get(part) {
                    Some(first) => (Some(*first), false),
                    None => (wholes.get(&thing).copied(), true),
                },
                None => match wholes.get(&thing) {
                    Some(first) => (Some(*first), false),
                    None => (first_of(with_parts), true),
                },
            };
            if let Some(first) = first {
                let what = match crossing {
                    true => format!("the path {}, one whole and one by line", claim.name),
                    false => words(&claim),
                };
                problems.push(host, both_own(first, one, &what));
            }
            match claim.part {
                Some(part) => {
                    with_parts.entry(part).or_insert(one);
                }
                None => {
                    wholes.entry(thing).or_insert(one);
                }
            }
        }
    }
    kept
}

/// The part that was declared first.
fn first_of<'a>(parts: &HashMap<String, &'a Filled<'a>>) -> Option<&'a Filled<'a>> {
    let place = |one: &&&Filled<'_>| (one.declared.at.span.start, one.declared.declared_at.clone());
    parts.values().min_by_key(place).copied()
}

fn both_own(first: &Filled<'_>, second: &Filled<'_>, what: &str) -> Problem {
    let message = format!(
        "{} and {} both own {what}",
        first.declared.address, second.declared.address
    );
    let help = format!(
        "the first is at {}; remove one, or narrow one with `on`",
        first.declared.declared_at
    );
    Problem::at(second.declared.at.clone(), message).help(help)
}
