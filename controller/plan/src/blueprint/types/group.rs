//! `group`: a group.

use crate::blueprint::check;
use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::Text;
use crate::resource::{Ensure, Group, Resource};

/// A group whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct GroupSpec {
    name: Text,
    ensure: Ensure,
    gid: Option<Text>,
    system: bool,
}

impl GroupSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.own("name", check::new_account);
        let ensure = reader.ensure();
        let gid = reader.number("gid", check::account_number);
        let system = reader.boolean("system").unwrap_or(false);
        reader.refuse_when_absent(ensure, &["gid", "system"]);
        Some(Self {
            name: name?,
            ensure,
            gid,
            system,
        })
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<Resource> {
        let name = filler.text(&self.name);
        let gid = filler.number(self.gid.as_ref());
        Some(Resource::Group(Group {
            name: name?,
            ensure: self.ensure,
            gid: gid?,
            system: self.system,
        }))
    }
}
