//! `symlink`: its target.

use crate::blueprint::check;
use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::Text;
use crate::resource::{Ensure, Resource, Symlink};

/// A symbolic link whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct SymlinkSpec {
    path: Text,
    ensure: Ensure,
    target: Option<Text>,
}

impl SymlinkSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let path = reader.own("path", check::path);
        let ensure = reader.ensure();
        let target = match ensure {
            Ensure::Present => reader.required("target", check::link_target, "say what it points to"),
            Ensure::Absent => reader.text("target", check::link_target),
        };
        reader.refuse_when_absent(ensure, &["target"]);
        Some(Self {
            path: path?,
            ensure,
            target,
        })
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<Resource> {
        let path = filler.text(&self.path);
        let target = filler.maybe(self.target.as_ref());
        Some(Resource::Symlink(Symlink {
            path: path?,
            ensure: self.ensure,
            target: target?.unwrap_or_default(),
        }))
    }
}
