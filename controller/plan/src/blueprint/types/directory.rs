//! `directory`: mode, owner, group.

use crate::blueprint::check;
use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::Text;
use crate::resource::{Directory, Ensure, Resource};

/// A directory whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct DirectorySpec {
    path: Text,
    ensure: Ensure,
    mode: Option<Text>,
    owner: Option<Text>,
    group: Option<Text>,
}

impl DirectorySpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let path = reader.own("path", check::path);
        let ensure = reader.ensure();
        let mode = reader.mode();
        let owner = reader.text("owner", check::account);
        let group = reader.text("group", check::account);
        reader.refuse_when_absent(ensure, &["mode", "owner", "group"]);
        Some(Self {
            path: path?,
            ensure,
            mode,
            owner,
            group,
        })
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<Resource> {
        let path = filler.text(&self.path);
        let mode = filler.maybe(self.mode.as_ref());
        let owner = filler.maybe(self.owner.as_ref());
        let group = filler.maybe(self.group.as_ref());
        Some(Resource::Directory(Directory {
            path: path?,
            ensure: self.ensure,
            mode: mode?,
            owner: owner?,
            group: group?,
        }))
    }
}
