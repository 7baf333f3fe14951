//! Folds what is identical on many hosts into one block: `web[01-37] (37)`. The idea is ClusterShell's MsgTree.

use holdfast_inventory::HostName;
use std::collections::BTreeMap;

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
