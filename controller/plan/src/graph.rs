//! The order of resources: as written, and what something needs is pulled in front of it.
//!
//! Knows numbers only; whoever builds the edges gives them their meaning.

/// A ring of needs: each entry needs the next, and the last needs the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<usize>);

/// Where a visit stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Orders `0..needs.len()`, where `needs[n]` lists what must come before `n`.
///
/// The order is as written (ascending), and an entry is moved forward only when one that comes before it needs
/// it; the needs of one entry are pulled in ascending order too. The same input gives the same order.
pub fn order(needs: &[Vec<usize>]) -> Result<Vec<usize>, Cycle> {
    let sorted: Vec<Vec<usize>> = needs
        .iter()
        .map(|before| {
            let mut before = before.clone();
            before.sort_unstable();
            before.dedup();
            before
        })
        .collect();
    let mut marks = vec![Mark::New; sorted.len()];
    let mut ordered = Vec::with_capacity(sorted.len());
    // A stack of our own: a chain of needs as long as the blueprint must not overflow the thread's.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for root in 0..sorted.len() {
        if marks[root] != Mark::New {
            continue;
        }
        marks[root] = Mark::Open;
        path.push((root, 0));
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(before) = sorted[node].get(*next).copied() else {
                marks[node] = Mark::Done;
                ordered.push(node);
                path.pop();
                continue;
            };
            *next += 1;
            match marks[before] {
                Mark::Done => {}
                Mark::New => {
                    marks[before] = Mark::Open;
                    path.push((before, 0));
                }
                Mark::Open => {
                    let start = path.iter().position(|(node, _)| *node == before);
                    let start = start.expect("an open node is on the path");
                    return Err(Cycle(path[start..].iter().map(|(node, _)| *node).collect()));
                }
            }
        }
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_needs_the_order_is_as_written() {
        assert_eq!(order(&[vec![], vec![], vec![]]), Ok(vec![0, 1, 2]));
    }

    #[test]
    fn what_is_needed_is_pulled_in_front_and_the_rest_stays() {
        // 0 needs 3, 3 needs 2: both come before 0, and 1 keeps its place behind 0.
        assert_eq!(order(&[vec![3], vec![], vec![], vec![2]]), Ok(vec![2, 3, 0, 1]));
    }

    #[test]
    fn a_cycle_is_named_from_its_first_entry_on() {
        assert_eq!(order(&[vec![], vec![3], vec![1], vec![2]]), Err(Cycle(vec![1, 3, 2])));
        assert_eq!(order(&[vec![0]]), Err(Cycle(vec![0])));
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_needs_does_not_overflow() {
        let needs: Vec<Vec<usize>> = (1..=100_000)
            .map(|n| if n < 100_000 { vec![n] } else { vec![] })
            .collect();
        let ordered = order(&needs).expect("a chain has no cycle");
        assert_eq!((ordered[0], ordered[99_999]), (99_999, 0));
    }

    /// Needs that go backwards along a random permutation: free of cycles by construction.
    fn acyclic() -> impl Strategy<Value = Vec<Vec<usize>>> {
        (1..30usize)
            .prop_flat_map(|n| {
                (
                    Just((0..n).collect::<Vec<_>>()).prop_shuffle(),
                    proptest::collection::vec((0..n, 0..n), 0..60),
                )
            })
            .prop_map(|(rank, pairs)| {
                let mut needs = vec![Vec::new(); rank.len()];
                for (a, b) in pairs {
                    if rank[a] > rank[b] {
                        needs[a].push(b);
                    }
                }
                needs
            })
    }

    proptest! {
        #[test]
        fn everything_comes_once_and_after_what_it_needs(needs in acyclic()) {
            let ordered = order(&needs).expect("free of cycles by construction");
            let mut place = vec![usize::MAX; needs.len()];
            for (index, node) in ordered.iter().enumerate() {
                prop_assert_eq!(place[*node], usize::MAX);
                place[*node] = index;
            }
            prop_assert_eq!(ordered.len(), needs.len());
            for (node, before) in needs.iter().enumerate() {
                for other in before {
                    prop_assert!(place[*other] < place[node]);
                }
            }
        }

        #[test]
        fn an_order_that_already_holds_is_kept(pairs in proptest::collection::vec((0..30usize, 0..30usize), 0..60)) {
            let mut needs = vec![Vec::new(); 30];
            for (a, b) in pairs {
                if a > b {
                    needs[a].push(b);
                }
            }
            prop_assert_eq!(order(&needs), Ok((0..30).collect::<Vec<_>>()));
        }

        #[test]
        fn a_reported_cycle_is_one(pairs in proptest::collection::vec((0..12usize, 0..12usize), 0..40)) {
            let mut needs = vec![Vec::new(); 12];
            for (a, b) in pairs {
                needs[a].push(b);
            }
            if let Err(Cycle(ring)) = order(&needs) {
                for (index, node) in ring.iter().enumerate() {
                    prop_assert!(needs[*node].contains(&ring[(index + 1) % ring.len()]));
                }
            }
        }
    }
}
