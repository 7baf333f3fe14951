//! The walks over users, groups and crontabs.

use super::dice::Dice;
use super::host::Host;
use super::paths::desired;
use holdfast_plan::resource::{Cron, DesiredResource, Ensure, Group, Resource, User};
use std::collections::BTreeMap;
use std::fs;

/// What the account files, the homes and the crontab say, each line by its key: their order means nothing.
pub type Lines = BTreeMap<String, String>;

/// What people have.
pub struct Accounts {
    /// What would be there without Holdfast.
    pub model: Lines,
}

impl Accounts {
    /// Furnishes a host as people left it.
    pub fn furnish(dice: &mut Dice, host: &Host) -> Self {
        if dice.one_in(2) {
            host.by_hand("printf '%s\\n' '# theirs' '5 4 * * * their job' | crontab -");
        }
        // A home that waits for its user, as after a move from another machine.
        if dice.one_in(2) {
            host.by_hand("mkdir /home/u2");
        }
        let mut accounts = Self { model: Lines::new() };
        accounts.model = accounts.read(host);
        accounts
    }

    /// Reads what is there.
    pub fn read(&self, host: &Host) -> Lines {
        let mut lines = Lines::new();
        for file in ["passwd", "shadow", "group", "gshadow"] {
            let text = fs::read_to_string(host.path(&format!("etc/{file}"))).expect("it is there");
            for line in text.lines() {
                let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
                if file.ends_with("group") || file.ends_with("gshadow") {
                    let members = fields.last_mut().expect("a line has fields");
                    let mut names: Vec<&str> = members.split(',').collect();
                    names.sort_unstable();
                    *members = names.join(",");
                }
                lines.insert(format!("{file} {}", fields[0]), fields.join(":"));
            }
        }
        for home in fs::read_dir(host.path("home")).expect("it is there") {
            let home = home.expect("an entry");
            let mut inside: Vec<String> = fs::read_dir(home.path())
                .expect("a home is a folder")
                .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
                .collect();
            inside.sort();
            lines.insert(format!("home {}", home.file_name().to_string_lossy()), inside.join(" "));
        }
        let crontab = fs::read_to_string(host.path("crontabs/root"));
        if let Ok(text) = crontab {
            // The first lines are the crontab command's own: when it was installed, and from what.
            let own = |line: &&str| !line.starts_with("# DO NOT EDIT") && !line.starts_with("# (");
            let text: Vec<&str> = text.lines().filter(own).collect();
            lines.insert("crontab".to_owned(), text.join("\n"));
        }
        lines
    }

    /// Throws a blueprint.
    pub fn blueprint(&self, dice: &mut Dice) -> Vec<DesiredResource> {
        let mut list = Vec::new();
        for (name, first_uid) in [("u1", 1601), ("u2", 1701), ("old", 1801)] {
            if dice.one_in(2) {
                continue;
            }
            let absent = dice.one_in(4);
            let user = User {
                name: name.to_owned(),
                ensure: if absent { Ensure::Absent } else { Ensure::Present },
                uid: dice.of(&[None, None, Some(first_uid), Some(first_uid + 1)]),
                group: dice.of(&[None, None, Some("staff".to_owned())]),
                groups: dice.of(&[None, None, Some(vec!["www".to_owned()]), Some(Vec::new())]),
                home: None,
                shell: dice.of(&[None, Some("/bin/sh".to_owned()), Some("/bin/false".to_owned())]),
                comment: dice.of(&[None, Some("One".to_owned()), Some("Two, there".to_owned())]),
                system: dice.one_in(3),
            };
            list.push(desired(&format!("user.{name}"), Resource::User(user)));
        }
        for name in ["g1", "empty"] {
            if dice.one_in(2) {
                continue;
            }
            let absent = dice.one_in(4);
            let group = Group {
                name: name.to_owned(),
                ensure: if absent { Ensure::Absent } else { Ensure::Present },
                gid: dice.of(&[
                    None,
                    Some(if name == "g1" { 161 } else { 162 }),
                    Some(if name == "g1" { 171 } else { 172 }),
                ]),
                system: dice.one_in(2),
            };
            list.push(desired(&format!("group.{name}"), Resource::Group(group)));
        }
        for name in ["c1", "c2"] {
            if dice.one_in(3) {
                continue;
            }
            let absent = dice.one_in(4);
            let cron = Cron {
                name: name.to_owned(),
                ensure: if absent { Ensure::Absent } else { Ensure::Present },
                user: None,
                schedule: dice.of(&["5 3 * * *", "@daily"]).to_owned(),
                command: dice.of(&["/bin/true", "echo 'it''s' >/dev/null"]).to_owned(),
            };
            list.push(desired(&format!("cron.{name}"), Resource::Cron(cron)));
        }
        list
    }

    fn field(&mut self, file: &str, name: &str, field: usize, value: &str) {
        let line = self.model.get_mut(&format!("{file} {name}")).expect("people have it");
        let mut fields: Vec<&str> = line.split(':').collect();
        fields[field] = value;
        *line = fields.join(":");
    }

    /// Lets people do something beside what is declared.
    pub fn people_at_work(&mut self, dice: &mut Dice, host: &Host, list: &[DesiredResource]) -> String {
        let old = list.iter().find(|resource| resource.address.to_string() == "user.old");
        let declared = |what: fn(&User) -> bool| {
            old.is_some_and(|old| match &old.resource {
                Resource::User(user) => what(user) || user.ensure == Ensure::Absent,
                _ => false,
            })
        };
        match dice.below(4) {
            0 if !declared(|user| user.comment.is_some()) => {
                host.by_hand("usermod -c 'By hand' old");
                self.field("passwd", "old", 4, "By hand");
                "usermod -c old".to_owned()
            }
            1 if !declared(|user| user.shell.is_some()) => {
                host.by_hand("usermod -s /bin/byhand old");
                self.field("passwd", "old", 6, "/bin/byhand");
                "usermod -s old".to_owned()
            }
            2 if !declared(|_| false) => {
                host.by_hand("echo 'old:$6$new$hash' | chpasswd -e; chage -d 19500 old");
                self.field("shadow", "old", 1, "$6$new$hash");
                self.field("shadow", "old", 2, "19500");
                "passwd old".to_owned()
            }
            _ => {
                host.by_hand("{ crontab -l 2>/dev/null || :; echo '1 1 * * * by hand'; } | crontab -");
                let theirs = self.model.entry("crontab".to_owned()).or_default();
                if !theirs.is_empty() {
                    theirs.push('\n');
                }
                theirs.push_str("1 1 * * * by hand");
                "crontab -e".to_owned()
            }
        }
    }
}
