//! Folds what is identical on many hosts into one block: `web[01-37] (37)`. The idea is ClusterShell's MsgTree.

use crate::view::terminal::{DIM, paint};
use holdfast_inventory::HostName;
use std::collections::{BTreeMap, HashMap};

/// One text and the hosts that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The hosts, in the order given.
    pub hosts: Vec<HostName>,
    /// What they have in common.
    pub text: String,
}

impl Folded {
    /// Names the hosts: `web[01-37] (37)`, or the one host's name.
    pub fn title(&self) -> String {
        title(&self.hosts)
    }
}

/// Names a set of hosts: folded, with its size when there are several.
pub fn title(hosts: &[HostName]) -> String {
    let names = holdfast_inventory::range::fold(hosts.iter().map(HostName::as_str));
    if hosts.len() == 1 {
        names
    } else {
        format!("{names} ({})", hosts.len())
    }
}

/// Groups hosts by identical text; larger groups come last, so that the common case stands nearest the summary,
/// and the odd ones are not scrolled away in between.
pub fn fold(texts: impl IntoIterator<Item = (HostName, String)>) -> Vec<Folded> {
    let mut by_text: BTreeMap<String, (usize, Vec<HostName>)> = BTreeMap::new();
    for (place, (host, text)) in texts.into_iter().enumerate() {
        by_text.entry(text).or_insert_with(|| (place, Vec::new())).1.push(host);
    }
    let mut blocks: Vec<(usize, Folded)> = by_text
        .into_iter()
        .map(|(text, (place, hosts))| (place, Folded { hosts, text }))
        .collect();
    blocks.sort_by_key(|(place, block)| (block.hosts.len(), *place));
    blocks.into_iter().map(|(_, block)| block).collect()
}

/// What is said of one host, and what is said once when several are in the same case with words of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The case, without the host's own words (its address, its key).
    pub shape: String,
    /// The words.
    pub text: String,
    /// The words as a sample for others in this case.
    pub sample: String,
}

impl Case {
    /// Words that are nobody's own.
    pub fn plain(text: String) -> Self {
        Self {
            shape: text.clone(),
            sample: text.clone(),
            text,
        }
    }
}

/// Different words of one case that are all shown. From there on those of one are the sample.
const WORDS_MAX: usize = 3;

/// Groups hosts by case: where their words are the same these stand once, and of many different ones a sample. Larger groups
/// come last, as in [`fold`].
pub fn fold_cases(cases: impl IntoIterator<Item = (HostName, Case)>) -> Vec<Folded> {
    let mut by_shape: BTreeMap<String, Vec<(usize, HostName, Case)>> = BTreeMap::new();
    for (place, (host, case)) in cases.into_iter().enumerate() {
        by_shape
            .entry(case.shape.clone())
            .or_default()
            .push((place, host, case));
    }
    let mut blocks: Vec<(usize, Folded)> = Vec::new();
    for group in by_shape.into_values() {
        let place = group[0].0;
        let sample = group[0].2.sample.clone();
        let all: Vec<HostName> = group.iter().map(|(_, host, _)| host.clone()).collect();
        let folded = fold(group.into_iter().map(|(_, host, case)| (host, case.text)));
        if folded.len() > WORDS_MAX {
            let (hosts, text) = (all, sample);
            blocks.push((place, Folded { hosts, text }));
        } else {
            blocks.extend(folded.into_iter().map(|block| (place, block)));
        }
    }
    blocks.sort_by_key(|(place, block)| (block.hosts.len(), *place));
    blocks.into_iter().map(|(_, block)| block).collect()
}

/// One piece of what is said of a host, such as one change of its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What all hosts of one kind have in common, though the words differ: pieces of one shape are alike.
    pub shape: String,
    /// The words.
    pub text: String,
}

/// Folds piece by piece: what hosts have in common stands once, under all of them, and only what differs stands under
/// those where it does. Of pieces that are alike and differ from host to host, in more than `texts_max` texts, one is shown.
pub fn fold_pieces(hosts: Vec<(HostName, Vec<Piece>)>, texts_max: usize) -> Vec<Folded> {
    let mut shapes: Vec<Alike> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    for (host, pieces) in hosts {
        for (turn, piece) in pieces.into_iter().enumerate() {
            let at = *index.entry(piece.shape).or_insert(shapes.len());
            if at == shapes.len() {
                shapes.push(Alike {
                    turn,
                    texts: Vec::new(),
                });
            }
            let texts = &mut shapes[at].texts;
            match texts.iter_mut().find(|(text, _)| *text == piece.text) {
                Some((_, hosts)) => hosts.push(host.clone()),
                None => texts.push((piece.text, vec![host.clone()])),
            }
        }
    }
    // What stands under the same hosts stands together, in the order in which each host has it.
    let mut sections: Vec<Section> = Vec::new();
    let mut places: HashMap<Vec<HostName>, usize> = HashMap::new();
    for shape in shapes {
        let turn = shape.turn;
        for (hosts, text) in shape.shown(texts_max) {
            let place = *places.entry(hosts.clone()).or_insert(sections.len());
            if place == sections.len() {
                sections.push((hosts, Vec::new()));
            }
            sections[place].1.push((turn, text));
        }
    }
    // As in `fold`: the common case stands nearest the summary.
    sections.sort_by_key(|(hosts, _)| hosts.len());
    sections
        .into_iter()
        .map(|(hosts, mut texts)| {
            texts.sort_by_key(|(turn, _)| *turn);
            let text = texts.into_iter().map(|(_, text)| text).collect();
            Folded { hosts, text }
        })
        .collect()
}

/// Hosts, and what stands under them: texts with their turn.
type Section = (Vec<HostName>, Vec<(usize, String)>);

/// Pieces of one shape.
struct Alike {
    /// The place among the pieces of the first host that has it.
    turn: usize,
    texts: Vec<(String, Vec<HostName>)>,
}

impl Alike {
    fn shown(self, texts_max: usize) -> Vec<(Vec<HostName>, String)> {
        if self.texts.len() <= texts_max {
            return self.texts.into_iter().map(|(text, hosts)| (hosts, text)).collect();
        }
        let (sample, of) = &self.texts[0];
        let others = self.texts.len() - 1;
        let alike = if others == 1 { "text is" } else { "texts are" };
        let note = format!(
            "        (so on {}; {others} other {alike} alike: -l HOST or --no-fold shows them)\n",
            of[0]
        );
        let text = format!("{sample}{}", paint(DIM, note.trim_end())) + "\n";
        let mut hosts: Vec<HostName> = self.texts.into_iter().flat_map(|(_, hosts)| hosts).collect();
        hosts.sort();
        vec![(hosts, text)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(list: &[(&str, &str)]) -> Vec<Piece> {
        let piece = |(shape, text): &(&str, &str)| Piece {
            shape: (*shape).to_owned(),
            text: format!("{text}\n"),
        };
        list.iter().map(piece).collect()
    }

    fn shown(hosts: Vec<(&str, Vec<Piece>)>, every: bool) -> Vec<(String, String)> {
        let hosts = hosts
            .into_iter()
            .map(|(host, pieces)| (HostName::from(host), pieces))
            .collect();
        let plain = |block: Folded| (block.title(), anstream::adapter::strip_str(&block.text).to_string());
        fold_pieces(hosts, if every { usize::MAX } else { 3 })
            .into_iter()
            .map(plain)
            .collect()
    }

    // REVIEW U12
    #[test]
    fn hosts_in_one_case_are_one_block_though_each_has_words_of_its_own() {
        let case = |shape: &str, host: &str, words: &str| {
            let case = Case {
                shape: shape.to_owned(),
                text: words.to_owned(),
                sample: format!("{shape}; on {host}: {words}"),
            };
            (HostName::from(host), case)
        };
        let folded = fold_cases([
            case("refused", "w1", "10.0.0.1: refused"),
            case("no answer", "w4", "10.0.0.4: no answer"),
            case("refused", "w2", "10.0.0.2: refused"),
            case("refused", "w3", "10.0.0.3: refused"),
            case("refused", "w5", "10.0.0.5: refused"),
        ]);
        let shown: Vec<_> = folded
            .iter()
            .map(|block| (block.title(), block.text.as_str()))
            .collect();
        let expected = [
            ("w4".to_owned(), "10.0.0.4: no answer"),
            ("w[1-3,5] (4)".to_owned(), "refused; on w1: 10.0.0.1: refused"),
        ];
        assert_eq!(shown, expected);
        let few = fold_cases([case("x", "w1", "a"), case("x", "w2", "b"), case("x", "w3", "a")]);
        let few: Vec<_> = few.iter().map(|block| (block.title(), block.text.as_str())).collect();
        assert_eq!(few, [("w2".to_owned(), "b"), ("w[1,3] (2)".to_owned(), "a")]);
        let same = fold_cases([case("x", "w1", "the same"), case("x", "w2", "the same")]);
        assert_eq!(same[0].text, "the same");
    }

    // REVIEW A10
    #[test]
    fn what_two_hosts_have_in_common_stands_once() {
        let first = pieces(&[("a", "+ a"), ("b", "+ b"), ("c", "+ c")]);
        let second = pieces(&[("a", "+ a"), ("x", "+ x"), ("c", "+ c")]);
        let expected = [
            ("web1".to_owned(), "+ b\n".to_owned()),
            ("web2".to_owned(), "+ x\n".to_owned()),
            ("web[1-2] (2)".to_owned(), "+ a\n+ c\n".to_owned()),
        ];
        assert_eq!(shown(vec![("web1", first), ("web2", second)], false), expected);
    }

    // REVIEW U12
    #[test]
    fn of_texts_that_differ_only_from_host_to_host_one_is_the_sample() {
        let names = ["w1", "w2", "w3", "w4", "w5"];
        let hosts = || -> Vec<(&str, Vec<Piece>)> {
            let of = |name| {
                (
                    name,
                    vec![Piece {
                        shape: "motd".to_owned(),
                        text: format!("+ I am {name}\n"),
                    }],
                )
            };
            names.into_iter().map(of).collect()
        };
        let folded = shown(hosts(), false);
        assert_eq!(folded.len(), 1);
        assert_eq!(folded[0].0, "w[1-5] (5)");
        assert!(folded[0].1.starts_with("+ I am w1\n"), "{folded:?}");
        assert!(folded[0].1.contains("4 other texts are alike"), "{folded:?}");
        assert_eq!(shown(hosts(), true).len(), 5);
        assert_eq!(shown(hosts().split_off(2), false).len(), 3, "three are still read");
    }
}
