//! What each host shall have: blueprints with the values of every host filled in, checked and ordered.
//!
//! Everything is offline. Every problem of every host is reported at once, folded by its place.

mod claims;
mod order;
mod sources;

pub use crate::blueprint::Files;
pub use sources::{Sources, Used, sources};

use crate::blueprint::fill::Filler;
use crate::blueprint::{Blueprint, Declared, Pattern};
use crate::content::Blobs;
use crate::lint;
use crate::render::{self, Scope};
use crate::resource::DesiredResource;
use holdfast_inventory::diagnostic::{Location, Problem, Problems};
use holdfast_inventory::{HostName, Inventory, Vars};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What [`Desired::build`] needs to know of the inventory.
pub trait Fleet {
    /// Every host of the inventory.
    fn hosts(&self) -> Vec<HostName>;
    /// The hosts that a pattern written at `at` selects.
    fn select(&self, pattern: &str, at: &Location) -> Result<BTreeSet<HostName>, Problems>;
    /// The merged variables of a host, `-e` and the built-in `name` included.
    fn vars(&self, host: &HostName) -> Vars;
}

impl Fleet for Inventory {
    fn hosts(&self) -> Vec<HostName> {
        self.hosts().iter().map(|host| host.name.clone()).collect()
    }

    fn select(&self, pattern: &str, at: &Location) -> Result<BTreeSet<HostName>, Problems> {
        let pattern = holdfast_inventory::Pattern::parse(pattern);
        match pattern.and_then(|pattern| pattern.select(self)) {
            Ok(hosts) => Ok(hosts.into_iter().map(|host| host.name.clone()).collect()),
            Err(errors) => Err(errors.into_problems(Some(at))),
        }
    }

    fn vars(&self, host: &HostName) -> Vars {
        self.vars_of(host.as_str()).unwrap_or_default()
    }
}

/// All that the desired state follows from.
#[derive(Clone, Copy)]
pub struct DesiredInput<'a> {
    /// The blueprints, in order.
    pub blueprints: &'a [Blueprint],
    /// Who there is.
    pub inventory: &'a dyn Fleet,
    /// The files that the blueprints refer to ([`Blueprint::references`]).
    pub files: &'a Files,
}

/// What each host shall have.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// The resources of each host asked for, in the order in which they are applied. A host without any is there too.
    pub hosts: BTreeMap<HostName, Vec<DesiredResource>>,
    /// The bytes behind their contents.
    pub blobs: Blobs,
    /// What is allowed and probably not meant.
    pub warnings: Problems,
}

/// A blueprint with the hosts that its resources are for.
struct Placed<'a> {
    blueprint: &'a Blueprint,
    resources: Vec<(&'a Declared, Arc<BTreeSet<HostName>>)>,
}

/// A resource of one host, with its declaration for messages.
pub(crate) struct Filled<'a> {
    pub(crate) declared: &'a Declared,
    pub(crate) resource: DesiredResource,
}

impl Desired {
    /// Works out what `hosts` shall have, or reports every problem.
    ///
    /// Files that no host needs are checked for being there all the same.
    pub fn build(input: DesiredInput<'_>, hosts: &[HostName]) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut warnings = lint::lint(input.blueprints, input.files);
        missing_files(&input, &mut problems);
        let placed = place(&input, &mut problems, &mut warnings);
        let mut filler = Filler::new(input.files);
        let mut desired = BTreeMap::new();
        for host in hosts {
            let resources = build_host(&input, &placed, host, &mut filler);
            desired.insert(host.clone(), resources);
        }
        let Filler {
            blobs,
            problems: of_hosts,
            ..
        } = filler;
        problems.extend(of_hosts.finish());
        problems.into_result(Self {
            hosts: desired,
            blobs,
            warnings,
        })
    }
}

fn missing_files(input: &DesiredInput<'_>, problems: &mut Problems) {
    for file in input.blueprints.iter().flat_map(Blueprint::file_refs) {
        let why = match input.files.get(&file.path) {
            Some(Ok(_)) => continue,
            Some(Err(why)) => why.as_str(),
            None => "it was not read",
        };
        let message = format!("{} names {}: {why}", file.what, file.path.display());
        problems.push(Problem::at(file.at.clone(), message).help("paths are relative to the file that names them"));
    }
}

fn place<'a>(input: &DesiredInput<'a>, problems: &mut Problems, warnings: &mut Problems) -> Vec<Placed<'a>> {
    let all = Arc::new(input.inventory.hosts().into_iter().collect::<BTreeSet<_>>());
    let none = Arc::new(BTreeSet::new());
    let mut select = |pattern: &Pattern| match input.inventory.select(&pattern.text, &pattern.at) {
        Ok(hosts) => Some(Arc::new(hosts)),
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    let mut warn = |pattern: &Pattern, message: &str| {
        let warning = Problem::at(pattern.at.clone(), message);
        warnings.push(warning.help("nothing is done for it; check the pattern"));
    };
    let mut placed = Vec::new();
    for blueprint in input.blueprints {
        let broad = blueprint
            .on
            .as_ref()
            .map_or_else(|| Some(Arc::clone(&all)), &mut select);
        if let (Some(on), Some(hosts)) = (&blueprint.on, &broad)
            && hosts.is_empty()
        {
            warn(on, "`on` matches no host");
        }
        let mut resources = Vec::new();
        for declared in &blueprint.resources {
            let hosts = match (&declared.on, &broad) {
                (Some(on), broad) => match (select(on), broad) {
                    (Some(narrow), Some(broad)) => {
                        let both: BTreeSet<HostName> = narrow.intersection(broad).cloned().collect();
                        if both.is_empty() && !broad.is_empty() {
                            warn(on, "`on` matches no host of its blueprint");
                        }
                        Arc::new(both)
                    }
                    _ => Arc::clone(&none),
                },
                (None, Some(broad)) => Arc::clone(broad),
                (None, None) => Arc::clone(&none),
            };
            resources.push((declared, hosts));
        }
        placed.push(Placed { blueprint, resources });
    }
    placed
}

/// The variables of a host with a blueprint's own, which are weaker than all others.
fn scope_of(blueprint: &Blueprint, plain: &Arc<Scope>) -> Arc<Scope> {
    if blueprint.vars.is_empty() {
        return Arc::clone(plain);
    }
    let mut values = render::values(&blueprint.vars);
    values.extend(plain.vars().clone());
    Arc::new(Scope::new(values))
}

fn build_host(
    input: &DesiredInput<'_>,
    placed: &[Placed<'_>],
    host: &HostName,
    filler: &mut Filler<'_>,
) -> Vec<DesiredResource> {
    let plain = Arc::new(Scope::new(render::values(&input.inventory.vars(host))));
    let mut filled = Vec::new();
    let mut unfilled = BTreeSet::new();
    for Placed { blueprint, resources } in placed {
        filler.turn_to(host, scope_of(blueprint, &plain));
        unfilled.extend(blueprint.broken.iter());
        for (declared, hosts) in resources {
            if !hosts.contains(host) {
                continue;
            }
            match declared.fill(filler) {
                Some(resource) => filled.push(Filled { declared, resource }),
                None => {
                    unfilled.insert(&declared.address);
                }
            }
        }
    }
    let filled = claims::refuse_doubles(filled, host, &mut filler.problems);
    order::order(filled, placed, &unfilled, host, &mut filler.problems)
}
