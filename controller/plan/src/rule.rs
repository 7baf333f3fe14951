//! The planner's rules by name. Which one decided stands in every change and refusal, so that nobody has to work it out
//! again.

use serde::{Deserialize, Serialize};

/// A rule of the planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Its undo failed.
    Stuck,
    /// What stands in its place leaves first.
    PlaceIsFreedFirst,
    /// The type says that it must not be touched.
    Refused,
    /// Another thing stands under its address now.
    BecameAnother,
    /// A person said: make it anew.
    Tainted,
    /// A script whose needs change first.
    WaitsForItsNeeds,
    /// The probe could not tell, and something changes first.
    KnownAfter,
    /// The ledger has it, the probe can't find it.
    Vanished,
    /// The probe could not tell, and nothing changes first.
    CannotTell,
    /// As desired, and what it rests on changes first.
    LookedAtAgain,
    /// As desired, and not in the ledger.
    Adopt,
    /// As desired, and its ready check has yet to pass.
    NotReadyYet,
    /// As desired, and the ledger says otherwise.
    EntryIsOutdated,
    /// As desired and in the ledger.
    NothingToDo,
    /// None of the above: it is not as desired.
    Differs,
    /// No blueprint declares it any more.
    LeftBlueprint,
    /// The same, and there is no way back or no need of one.
    NothingToUndo,
    /// The same, and it may not be undone.
    PreventUndo,
    /// What a service restarts on changes.
    DependencyChanges,
    /// What a service restarts on changed in an earlier run.
    RestartOwed,
    /// Holdfast put it there, and this store has no record of it.
    InNoRecord,
    /// There is no sh for it on this host's platform.
    Unsupported,
}

impl Rule {
    /// Gives its name.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// Says why there is such a rule.
    pub fn why(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::InNoRecord => (
                "in no record",
                "taken for what was always there, what was there before it would be lost",
            ),
            Self::Stuck => (
                "stuck",
                "what could not be put back waits for a person, whatever is desired now",
            ),
            Self::PlaceIsFreedFirst => (
                "place is freed first",
                "what was observed will not be there any more when it is this one's turn",
            ),
            Self::Refused => (
                "refused",
                "the type itself says that it must not be touched, and nothing that changes first will help",
            ),
            Self::BecameAnother => (
                "became another",
                "another thing stands under this address: the old one is undone, or it would stay on the host for ever",
            ),
            Self::Tainted => ("tainted", "a person said so"),
            Self::WaitsForItsNeeds => (
                "waits for its needs",
                "what the probe says before the needs are applied is not the last word",
            ),
            Self::KnownAfter => ("known after", "an earlier change may bring what the probe missed"),
            Self::Vanished => ("vanished", "what the ledger has and the probe can't find is drift"),
            Self::CannotTell => ("can't tell", "nothing in this plan will make the probe wiser"),
            Self::LookedAtAgain => (
                "looked at again",
                "it is as desired before what it rests on changes, and may not be afterwards",
            ),
            Self::Adopt => ("adopt", "it is as desired: the ledger learns of it"),
            Self::NotReadyYet => (
                "not ready yet",
                "the last attempt did not come to its end: the probe is content, the ready check has yet to pass",
            ),
            Self::EntryIsOutdated => (
                "entry is outdated",
                "the host is as desired, the ledger does not say so",
            ),
            Self::NothingToDo => ("nothing to do", "as desired and in the ledger"),
            Self::Differs => (
                "differs",
                "it is not as desired, and no other rule stands in the way: what was compared says what is to be done",
            ),
            Self::LeftBlueprint => (
                "left the blueprint",
                "the ledger has it and no blueprint declares it any more: what was there before comes back",
            ),
            Self::NothingToUndo => (
                "nothing to undo",
                "no blueprint declares it any more, and Holdfast has nothing of its own to take back there",
            ),
            Self::PreventUndo => (
                "prevent_undo",
                "the blueprint said that it may not be undone, and only a blueprint takes that back",
            ),
            Self::DependencyChanges => (
                "dependency changes",
                "a service has to learn of what it restarts on, in the same job",
            ),
            Self::RestartOwed => (
                "restart owed",
                "what it restarts on changed in an earlier run, and the restart was never done",
            ),
            Self::Unsupported => (
                "unsupported",
                "nothing is begun on a host of which a part can't be carried out",
            ),
        }
    }
}
