//! `user`: a user account.

use crate::blueprint::check;
use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::Text;
use crate::resource::{Ensure, Resource, User};

/// A user whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct UserSpec {
    name: Text,
    ensure: Ensure,
    uid: Option<Text>,
    group: Option<Text>,
    groups: Option<Vec<Text>>,
    home: Option<Text>,
    shell: Option<Text>,
    comment: Option<Text>,
    system: bool,
}

impl UserSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.own("name", check::new_account);
        let ensure = reader.ensure();
        let uid = reader.number("uid", check::account_number);
        let group = reader.text("group", check::account);
        let groups = reader.texts("groups", check::account);
        let home = reader.text("home", check::account_path);
        let shell = reader.text("shell", check::account_path);
        let comment = reader.text("comment", check::comment);
        let system = reader.boolean("system").unwrap_or(false);
        let keys = ["uid", "group", "groups", "home", "shell", "comment", "system"];
        reader.refuse_when_absent(ensure, &keys);
        Some(Self {
            name: name?,
            ensure,
            uid,
            group,
            groups,
            home,
            shell,
            comment,
            system,
        })
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<Resource> {
        let name = filler.text(&self.name);
        let uid = filler.number(self.uid.as_ref());
        let group = filler.maybe(self.group.as_ref());
        let groups = match &self.groups {
            Some(groups) => filler.texts(groups).map(Some),
            None => Some(None),
        };
        let home = filler.maybe(self.home.as_ref());
        let shell = filler.maybe(self.shell.as_ref());
        let comment = filler.maybe(self.comment.as_ref());
        Some(Resource::User(User {
            name: name?,
            ensure: self.ensure,
            uid: uid?,
            group: group?,
            groups: groups?,
            home: home?,
            shell: shell?,
            comment: comment?,
            system: self.system,
        }))
    }
}
