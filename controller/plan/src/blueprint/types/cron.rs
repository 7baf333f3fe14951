//! `cron`: an entry of a user's crontab.

use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::Text;
use crate::blueprint::{check, schedule};
use crate::resource::{Cron, Ensure, Resource};

/// A crontab entry whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct CronSpec {
    ensure: Ensure,
    user: Option<Text>,
    schedule: Option<Text>,
    pub(crate) command: Option<Text>,
}

impl CronSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let ensure = reader.ensure();
        let user = reader.text("user", check::account);
        let (schedule, command) = match ensure {
            Ensure::Present => (
                reader.required(
                    "schedule",
                    schedule::check,
                    "give five cron fields such as \"5 3 * * *\"",
                ),
                reader.required("command", check::one_line, "give the command that cron shall run"),
            ),
            Ensure::Absent => (
                reader.text("schedule", schedule::check),
                reader.text("command", check::one_line),
            ),
        };
        reader.refuse_when_absent(ensure, &["schedule", "command"]);
        Some(Self {
            ensure,
            user,
            schedule,
            command,
        })
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>, name: &str) -> Option<Resource> {
        let user = filler.maybe(self.user.as_ref());
        let schedule = filler.maybe(self.schedule.as_ref());
        let command = filler.maybe(self.command.as_ref());
        Some(Resource::Cron(Cron {
            name: name.to_owned(),
            ensure: self.ensure,
            user: user?,
            schedule: schedule?.unwrap_or_default(),
            command: command?.unwrap_or_default(),
        }))
    }
}
