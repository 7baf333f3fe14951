//! Refuses to take for found what Holdfast put there and this store has no record of: what was there before it would be
//! lost. It lies on the host all the while.

use super::{Draft, Mode};
use crate::address::Address;
use crate::event::HoldReason;
use crate::rule::Rule;
use std::collections::BTreeMap;

impl Draft<'_> {
    pub(super) fn refuse_unknown(&mut self) {
        let host = &self.input.observation.host;
        if let Some(why @ HoldReason::StoreOlder { .. }) = self.input.held {
            let message = format!(
                "held: {why}; put the newer store back. If it is lost, `holdfast resolve {host} accept` goes on from here: \
                 what is there counts as found there, and what was there before it is not put back any more"
            );
            self.refuse_all(message);
            return;
        }
        if self.input.mode == Mode::Drift {
            return;
        }
        let wanted = self.input.desired.iter().map(|resource| &resource.address);
        let lives: BTreeMap<&Address, _> = self
            .input
            .observation
            .lives
            .iter()
            .map(|(life, address)| (address, life))
            .collect();
        for address in wanted.filter(|address| !self.input.ledger.entries.contains_key(address)) {
            let Some(life) = lives.get(address) else { continue };
            let message = format!(
                "another project, or a store that is gone, put this there and keeps what was there before (before/{life} in \
                 the state_dir); taken over from here, that would be lost. Let the other one undo it, or put its store \
                 back; if there is none any more, `holdfast resolve {host} accept` takes what is there as found"
            );
            self.refuse(address, Rule::InNoRecord, message);
        }
    }
}
