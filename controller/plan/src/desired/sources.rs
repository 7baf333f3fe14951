//! Where the values of one resource on one host come from: the files and the variables that it is made of.

use super::{DesiredInput, Placed, place, scope_of};
use crate::address::Address;
use crate::blueprint::fill::Filler;
use crate::render::{Scope, values};
use holdfast_inventory::diagnostic::Problems;
use holdfast_inventory::{HostName, Var, Vars};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the values of a resource come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Sources {
    /// `file:line` of the blueprint.
    pub declared_at: String,
    /// The files whose content it has: templates, sources, scripts.
    pub files: Vec<PathBuf>,
    /// The variables that its values name, in the order of their names.
    pub variables: Vec<Used>,
}

/// A variable that a value names.
#[derive(Debug, Clone, PartialEq)]
pub struct Used {
    /// Its name.
    pub name: String,
    /// Its value, the layer that it comes from and the place; `None`: nobody defines it, and the value does without.
    pub var: Option<Var>,
}

/// Finds where the values of a resource on a host come from; `None` if no blueprint declares it there.
pub fn sources(input: DesiredInput<'_>, host: &HostName, address: &Address) -> Option<Sources> {
    // What is wrong was reported when the desired state was worked out.
    let placed = place(&input, &mut Problems::new(), &mut Problems::new());
    let of_host = input.inventory.vars(host);
    let plain = Arc::new(Scope::new(values(&of_host)));
    let (blueprint, declared) = placed.iter().find_map(|Placed { blueprint, resources }| {
        let mut here = resources.iter().filter(|(_, hosts)| hosts.contains(host));
        let (declared, _) = here.find(|(declared, _)| declared.address == *address)?;
        Some((blueprint, declared))
    })?;
    let mut filler = Filler::new(input.files);
    filler.turn_to(host, scope_of(blueprint, &plain));
    filler.named = Some(BTreeSet::new());
    declared.fill(&mut filler);
    let strongest = |name: &str, layers: [&Vars; 2]| layers.iter().find_map(|layer| layer.get(name).cloned());
    let named = filler.named.take().unwrap_or_default().into_iter();
    Some(Sources {
        declared_at: declared.declared_at.clone(),
        files: declared.files().map(|file| file.path.clone()).collect(),
        variables: named
            .map(|name| Used {
                var: strongest(&name, [&of_host, &blueprint.vars]),
                name,
            })
            .collect(),
    })
}
