//! The life of a resource in the ledger: its phases and every transition between them, in one total match.
//!
//! ```text
//! Absent ─begin─> Creating ─┬─done──> Ready <──in order── Drifted
//!    ^                      │          │ └────differs────────^
//!    │                   failed      begin
//!    │                      v          v
//!    │                   Failed <─failed─ Updating ─done─> Ready
//!    └─done─ Deleting <─begin undo─ (any)
//!               └─undo failed─> Stuck ── a person: retry, skip, accept, taint
//! ```
//!
//! It knows nothing of events; [`crate::ledger`] translates them.

use serde::{Deserialize, Serialize};

/// Where a resource of a machine is in its life. Absence from the ledger is `Absent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not in the ledger.
    Absent,
    /// A step that makes it was begun.
    Creating,
    /// As desired when last seen.
    Ready,
    /// A step that changes it was begun.
    Updating,
    /// Seen to differ from the ledger.
    Drifted,
    /// Its last step failed.
    Failed,
    /// A person said: make it anew.
    Tainted,
    /// A step that undoes it was begun.
    Deleting,
    /// It can't be put back, or its *before* is lost: waits for a person.
    Stuck,
}

/// What can happen to a resource of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A step that applies it was begun.
    ApplyBegun,
    /// The step ended well: the probe shows what is desired.
    ApplyDone,
    /// The step failed after it was begun.
    ApplyFailed,
    /// A step that undoes it was begun.
    UndoBegun,
    /// It was undone.
    UndoDone,
    /// Undoing it failed.
    UndoFailed,
    /// It was found as desired.
    Adopted,
    /// It was seen to differ from the ledger.
    SeenToDiffer,
    /// It was seen to be as the ledger says.
    SeenInOrder,
    /// A person said: make it anew.
    Tainted,
    /// A person said: try again.
    RetryAllowed,
    /// A person said: what is there counts as applied.
    Accepted,
    /// It was dropped from the ledger and left on the host.
    Dropped,
}

impl Transition {
    /// All of them.
    pub const ALL: [Transition; 13] = [
        Self::ApplyBegun,
        Self::ApplyDone,
        Self::ApplyFailed,
        Self::UndoBegun,
        Self::UndoDone,
        Self::UndoFailed,
        Self::Adopted,
        Self::SeenToDiffer,
        Self::SeenInOrder,
        Self::Tainted,
        Self::RetryAllowed,
        Self::Accepted,
        Self::Dropped,
    ];
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 9] = [
        Self::Absent,
        Self::Creating,
        Self::Ready,
        Self::Updating,
        Self::Drifted,
        Self::Failed,
        Self::Tainted,
        Self::Deleting,
        Self::Stuck,
    ];

    /// Gives its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Updating => "updating",
            Self::Drifted => "drifted",
            Self::Failed => "failed",
            Self::Tainted => "tainted",
            Self::Deleting => "deleting",
            Self::Stuck => "stuck",
        }
    }

    /// Tells whether a step was begun and has not ended well: what is on the host may be half of it.
    pub fn is_unfinished(self) -> bool {
        match self {
            Self::Creating | Self::Updating | Self::Failed | Self::Deleting => true,
            Self::Absent | Self::Ready | Self::Drifted | Self::Tainted | Self::Stuck => false,
        }
    }
}

/// A transition has no meaning in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a resource that is {phase:?} can't take {transition:?}")]
pub struct IllegalTransition {
    /// The phase.
    pub phase: Phase,
    /// What was to happen.
    pub transition: Transition,
}

/// Gives the phase that follows.
///
/// Every pair is answered here. What is `Stuck` leaves only by a person's word; what is `Absent` can't be undone,
/// tainted or accepted.
pub fn next_phase(phase: Phase, transition: Transition) -> Result<Phase, IllegalTransition> {
    use Phase::{Absent, Creating, Deleting, Drifted, Failed, Ready, Stuck, Tainted, Updating};
    use Transition as T;
    let next = match (transition, phase) {
        (T::ApplyBegun, Absent | Creating) => Creating,
        (T::ApplyBegun, Ready | Updating | Drifted | Failed | Tainted | Deleting) => Updating,
        (T::ApplyDone | T::Adopted, Absent | Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting) => {
            Ready
        }
        (T::ApplyFailed, Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting) => Failed,
        (T::UndoBegun, Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting) => Deleting,
        (T::UndoDone, Absent | Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting) => Absent,
        (T::UndoFailed, Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting | Stuck) => Stuck,
        (T::SeenToDiffer, Ready) => Drifted,
        (T::SeenInOrder, Drifted) => Ready,
        (
            T::SeenToDiffer | T::SeenInOrder,
            Absent | Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting | Stuck,
        ) => phase,
        (T::Tainted, Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting | Stuck) => Tainted,
        (T::RetryAllowed, Stuck) => Failed,
        (T::RetryAllowed, Absent | Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting) => phase,
        (T::Accepted, Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting | Stuck) => Ready,
        (T::Dropped, Absent | Creating | Ready | Updating | Drifted | Failed | Tainted | Deleting | Stuck) => Absent,
        (T::ApplyBegun | T::ApplyDone | T::Adopted | T::ApplyFailed | T::UndoBegun | T::UndoDone, Stuck)
        | (T::ApplyFailed | T::UndoBegun | T::UndoFailed | T::Tainted | T::Accepted, Absent) => {
            return Err(IllegalTransition { phase, transition });
        }
    };
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_person_gets_a_resource_out_of_stuck() {
        for transition in Transition::ALL {
            let leaves = next_phase(Phase::Stuck, transition).is_ok_and(|next| next != Phase::Stuck);
            let by_a_person = matches!(
                transition,
                Transition::Tainted | Transition::RetryAllowed | Transition::Accepted | Transition::Dropped
            );
            assert_eq!(leaves, by_a_person, "{transition:?}");
        }
    }

    #[test]
    fn what_happens_twice_leads_to_the_same_phase() {
        for phase in Phase::ALL {
            for transition in Transition::ALL {
                let Ok(once) = next_phase(phase, transition) else {
                    continue;
                };
                if let Ok(twice) = next_phase(once, transition) {
                    let begun_again = transition == Transition::ApplyBegun;
                    assert!(
                        once == twice || begun_again,
                        "{phase:?} {transition:?}: {once:?}, {twice:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_resource_that_is_begun_is_ready_only_after_it_was_done() {
        let creating = next_phase(Phase::Absent, Transition::ApplyBegun).expect("it can begin");
        assert_eq!(creating, Phase::Creating);
        assert_eq!(next_phase(creating, Transition::SeenInOrder), Ok(Phase::Creating));
        assert_eq!(next_phase(creating, Transition::ApplyFailed), Ok(Phase::Failed));
        assert_eq!(next_phase(creating, Transition::ApplyDone), Ok(Phase::Ready));
    }
}
