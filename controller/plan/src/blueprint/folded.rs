//! Problems that show on many hosts, folded: one problem for each place, with the hosts it shows on.

use holdfast_inventory::HostName;
use holdfast_inventory::diagnostic::{Problem, Problems};
use std::collections::HashMap;
use std::path::PathBuf;

/// Collects problems of hosts.
#[derive(Debug, Default)]
pub struct HostProblems {
    found: Vec<(Problem, Vec<HostName>)>,
    index: HashMap<(PathBuf, usize, String), usize>,
}

impl HostProblems {
    /// Adds a problem of a host.
    pub fn push(&mut self, host: &HostName, problem: Problem) {
        let kind = problem.message.clone();
        self.push_as(host, problem, kind);
    }

    /// Adds a problem whose message holds the host's own value: `kind` is what makes two of them one.
    pub fn push_as(&mut self, host: &HostName, problem: Problem, kind: String) {
        let place = problem.at.as_ref();
        let path = place.map(|at| at.file.path.clone()).unwrap_or_default();
        let key = (path, place.map_or(0, |at| at.span.start), kind);
        let next = self.found.len();
        let index = *self.index.entry(key).or_insert(next);
        if index == next {
            self.found.push((problem, Vec::new()));
        }
        let hosts = &mut self.found[index].1;
        if hosts.last() != Some(host) {
            hosts.push(host.clone());
        }
    }

    /// Gives the problems, each labelled with its hosts, by file and place.
    pub fn finish(self) -> Problems {
        let mut found = self.found;
        found.sort_by_cached_key(|(problem, _)| {
            let place = problem.at.as_ref();
            place.map(|at| (at.file.path.clone(), at.span.start))
        });
        Problems(
            found
                .into_iter()
                .map(|(problem, hosts)| {
                    let label = match &hosts[..] {
                        [] => return problem,
                        [only] => format!("on {only}"),
                        [first, _] => format!("on {first} and 1 more host"),
                        [first, rest @ ..] => format!("on {first} and {} more hosts", rest.len()),
                    };
                    problem.label(label)
                })
                .collect(),
        )
    }
}
