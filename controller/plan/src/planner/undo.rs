//! The order in which things are undone: what rests on another goes before it, and what came last goes first.

use crate::graph;
use crate::ledger::LedgerEntry;
use crate::resource::Claim;

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
