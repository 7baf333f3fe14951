//! The order in which things are undone: what rests on another goes before it, and what came last goes first.

use crate::graph;
use crate::ledger::LedgerEntry;
use crate::resource::{Claim, ClaimKind, DesiredResource};
use crate::sh::Sh;

/// Lists the paths that stay managed, one a line.
pub(super) fn managed(desired: &[DesiredResource]) -> Sh {
    let claims = desired.iter().flat_map(|other| other.resource.lifecycle().claims());
    let paths: Vec<String> = claims
        .filter(|claim| claim.kind == ClaimKind::Path)
        .map(|claim| claim.name)
        .collect();
    Sh::new().set("managed", &paths.join("\n"))
}

/// Tells the undo of a resource what it has to spare: what others that stay have of the same sort.
pub(super) fn sparing(leaving: &DesiredResource, desired: &[DesiredResource]) -> Sh {
    let Some(kind) = leaving.resource.lifecycle().spares() else {
        return Sh::new();
    };
    let others = desired.iter().filter(|other| other.address != leaving.address);
    let names: Vec<String> = others
        .flat_map(|other| other.resource.lifecycle().claims())
        .filter(|claim| claim.kind == kind)
        .map(|claim| claim.name)
        .collect();
    Sh::new().set("spared", &names.join(" "))
}

/// Orders the entries that leave, given in the order in which they entered. `runs_on` tells of each whether it is a
/// service that goes on running: that one comes after what it restarts on, since it has to learn what came back.
///
/// Needs may have changed over the years so that they run in a circle; then those of running services are let go of
/// first, and the order of entry is what is left.
pub(super) fn order(leaving: &[&LedgerEntry], runs_on: &[bool]) -> Vec<usize> {
    let order = graph::order(&edges(leaving, Some(runs_on)))
        .or_else(|_| graph::order(&edges(leaving, None)))
        .unwrap_or_else(|_| (0..leaving.len()).collect());
    order.into_iter().rev().collect()
}

/// For each entry: those that have to be there before it, and so go after it.
fn edges(leaving: &[&LedgerEntry], runs_on: Option<&[bool]>) -> Vec<Vec<usize>> {
    let claims: Vec<Vec<Claim>> = leaving
        .iter()
        .map(|entry| entry.desired.resource.lifecycle().claims())
        .collect();
    let lies_in = |inner: usize, outer: usize| {
        let outer = &claims[outer];
        outer
            .iter()
            .any(|outer| claims[inner].iter().any(|inner| outer.holds(inner)))
    };
    let mut edges = vec![Vec::new(); leaving.len()];
    for (at, entry) in leaving.iter().enumerate() {
        for (other, earlier) in leaving.iter().enumerate() {
            if at == other {
                continue;
            }
            let restarts = entry.desired.restart_on.contains(&earlier.desired.address);
            if restarts && runs_on.is_some_and(|runs_on| runs_on[at]) {
                edges[other].push(at);
            } else if restarts || entry.desired.needs.contains(&earlier.desired.address) || lies_in(at, other) {
                edges[at].push(other);
            }
        }
    }
    edges
}
