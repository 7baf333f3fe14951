//! What a resource has for itself on a host: its address, and the path, package or account behind it.

use super::Filled;
use crate::address::Address;
use crate::blueprint::folded::HostProblems;
use crate::resource::Resource;
use holdfast_inventory::HostName;
use holdfast_inventory::diagnostic::Problem;
use std::collections::HashMap;

/// A thing on a host that one resource may have.
#[derive(PartialEq, Eq, Hash)]
enum Claim<'a> {
    Path(&'a str),
    LineOf(&'a str, &'a str),
    Package(&'a str),
    Service(&'a str),
    User(&'a str),
    Group(&'a str),
}

impl Claim<'_> {
    fn words(&self) -> String {
        match self {
            Claim::Path(path) => format!("the path {path}"),
            Claim::LineOf(path, _) => format!("the same line of {path}"),
            Claim::Package(name) => format!("the package {name}"),
            Claim::Service(name) => format!("the service {name}"),
            Claim::User(name) => format!("the user {name}"),
            Claim::Group(name) => format!("the group {name}"),
        }
    }
}

fn claim(resource: &Resource) -> Option<Claim<'_>> {
    match resource {
        Resource::File(file) => Some(Claim::Path(&file.path)),
        Resource::Directory(directory) => Some(Claim::Path(&directory.path)),
        Resource::Symlink(link) => Some(Claim::Path(&link.path)),
        Resource::Line(line) => Some(Claim::LineOf(&line.path, &line.line)),
        Resource::Package(package) => Some(Claim::Package(&package.name)),
        Resource::Service(service) => Some(Claim::Service(&service.name)),
        Resource::User(user) => Some(Claim::User(&user.name)),
        Resource::Group(group) => Some(Claim::Group(&group.name)),
        // Their names are their addresses.
        Resource::Cron(_) | Resource::Script(_) => None,
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
    let mut claims: HashMap<Claim<'_>, &Filled<'_>> = HashMap::new();
    // A path is managed whole or by lines: the first of each kind counts.
    let mut lines: HashMap<&str, &Filled<'_>> = HashMap::new();
    for one in &kept {
        let Some(claim) = claim(&one.resource.resource) else {
            continue;
        };
        let crossing = match &claim {
            Claim::Path(path) => lines.get(path),
            Claim::LineOf(path, _) => claims.get(&Claim::Path(path)),
            _ => None,
        };
        if let Some(first) = crossing {
            let (Claim::Path(path) | Claim::LineOf(path, _)) = &claim else {
                continue;
            };
            problems.push(
                host,
                both_own(first, one, &format!("the path {path}, one whole and one by line")),
            );
        } else if let Some(first) = claims.get(&claim) {
            problems.push(host, both_own(first, one, &claim.words()));
        }
        if let Resource::Line(line) = &one.resource.resource {
            lines.entry(&line.path).or_insert(one);
        }
        claims.entry(claim).or_insert(one);
    }
    kept
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
