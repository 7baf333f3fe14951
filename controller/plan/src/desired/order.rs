//! Orders the resources of one host and reports needs that lead nowhere or in a ring.

use super::{Filled, Placed};
use crate::address::Address;
use crate::blueprint::Need;
use crate::blueprint::folded::HostProblems;
use crate::graph::{self, Cycle};
use crate::resource::DesiredResource;
use holdfast_inventory::HostName;
use holdfast_inventory::diagnostic::{Problem, suggest};
use std::collections::{BTreeSet, HashMap};

/// Orders; `unfilled` are resources whose own problems were reported, so that needs on them are let pass.
pub(super) fn order(
    filled: Vec<Filled<'_>>,
    placed: &[Placed<'_>],
    unfilled: &BTreeSet<&Address>,
    host: &HostName,
    problems: &mut HostProblems,
) -> Vec<DesiredResource> {
    let places: HashMap<&Address, usize> = filled
        .iter()
        .enumerate()
        .map(|(index, one)| (&one.declared.address, index))
        .collect();
    let mut edges = Vec::with_capacity(filled.len());
    for one in &filled {
        let mut before = Vec::new();
        for need in needs(one) {
            match places.get(&need.address) {
                Some(place) => before.push(*place),
                None if unfilled.contains(&need.address) => {}
                None => problems.push(host, unknown_need(need, placed, &places)),
            }
        }
        edges.push(before);
    }
    let order = match graph::order(&edges) {
        Ok(order) => order,
        Err(Cycle(ring)) => {
            problems.push(host, cycle(&filled, &ring));
            return Vec::new();
        }
    };
    let mut filled: Vec<Option<DesiredResource>> = filled.into_iter().map(|one| Some(one.resource)).collect();
    order
        .into_iter()
        .map(|index| filled[index].take().expect("an order names each index once"))
        .collect()
}

fn needs<'a>(one: &Filled<'a>) -> impl Iterator<Item = &'a Need> {
    one.declared.needs.iter().chain(&one.declared.restart_on)
}

fn unknown_need(need: &Need, placed: &[Placed<'_>], places: &HashMap<&Address, usize>) -> Problem {
    let elsewhere = placed
        .iter()
        .flat_map(|one| &one.resources)
        .find(|(declared, _)| declared.address == need.address);
    if let Some((declared, _)) = elsewhere {
        let message = format!("{} is not declared for this host", need.address);
        let help = format!(
            "it is at {}, for other hosts; give both the same `on`",
            declared.declared_at
        );
        return Problem::at(need.at.clone(), message).help(help);
    }
    let problem = Problem::at(need.at.clone(), format!("nothing declares {}", need.address));
    let mut known: Vec<String> = places.keys().map(ToString::to_string).collect();
    known.sort_unstable();
    match suggest(&need.address.to_string(), known.iter().map(String::as_str)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help("declare it, or remove the need"),
    }
}

fn cycle(filled: &[Filled<'_>], ring: &[usize]) -> Problem {
    // Begin with the one written first, so that every host reports the same ring.
    let first = (0..ring.len()).min_by_key(|index| ring[*index]).unwrap_or(0);
    let ring: Vec<usize> = ring[first..].iter().chain(&ring[..first]).copied().collect();
    let address = |index: usize| &filled[index].declared.address;
    let next = address(ring[1 % ring.len()]);
    let at = needs(&filled[ring[0]])
        .find(|need| need.address == *next)
        .map_or(&filled[ring[0]].declared.at, |need| &need.at);
    let mut names: Vec<String> = ring.iter().map(|index| address(*index).to_string()).collect();
    names.push(address(ring[0]).to_string());
    Problem::at(at.clone(), format!("cycle in needs: {}", names.join(" needs "))).help("remove one of these needs")
}
