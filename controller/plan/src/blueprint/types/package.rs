//! `package`: a package of the host's package manager.

use crate::blueprint::check;
use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::Text;
use crate::resource::{Ensure, OnUndo, Package, Resource};
use holdfast_inventory::diagnostic::suggest;

/// The words of `undo`.
const UNDO: [(&str, OnUndo); 3] = [
    ("remove", OnUndo::Remove),
    ("purge", OnUndo::Purge),
    ("keep", OnUndo::Keep),
];

/// A package whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct PackageSpec {
    name: Text,
    ensure: Ensure,
    undo: OnUndo,
}

impl PackageSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.own("name", check::package);
        let ensure = reader.ensure();
        let undo = read_undo(reader, ensure);
        Some(Self {
            name: name?,
            ensure,
            undo,
        })
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<Resource> {
        Some(Resource::Package(Package {
            name: filler.text(&self.name)?,
            ensure: self.ensure,
            undo: self.undo,
        }))
    }
}

fn read_undo(reader: &mut Reader<'_>, ensure: Ensure) -> OnUndo {
    let Some(word) = reader.keys.string("undo", reader.problems) else {
        return OnUndo::default();
    };
    let span = word.span();
    let word = word.into_inner();
    let what = reader.what("undo");
    match UNDO.iter().find(|(known, _)| *known == word) {
        Some((_, OnUndo::Purge)) if ensure == Ensure::Absent => {
            let message = format!("{what} has no meaning where the package shall be absent");
            reader.problem(&span, message, "its undo installs it again: take `undo` out");
            OnUndo::default()
        }
        Some((_, undo)) => *undo,
        None => {
            let help = match suggest(&word, UNDO.map(|(known, _)| known)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "use \"remove\", \"purge\" or \"keep\"".to_owned(),
            };
            reader.problem(&span, format!("{what} can't be \"{}\"", word.escape_debug()), &help);
            OnUndo::default()
        }
    }
}
