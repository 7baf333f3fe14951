//! Steps: one change compiled for one host's platform.

use super::classify::old_line;
use crate::address::Address;
use crate::change::{Step, StepReady};
use crate::content::sha256_hex;
use crate::ledger::{LedgerEntry, Origin};
use crate::observation::{Attributes, Platform};
use crate::resource::{DesiredResource, Unsupported};
use crate::sh::Sh;

/// Compiles create, update, replace and what is known only later: they are one step, which looks for itself.
pub(super) fn apply(
    desired: &DesiredResource,
    entry: Option<&LedgerEntry>,
    observed: &Attributes,
    platform: &Platform,
    always: bool,
) -> Result<Step, Unsupported> {
    let resource = desired.resource.lifecycle();
    let mut apply = Sh::new();
    if let Some(entry) = entry.filter(|entry| old_line(entry, desired).is_some()) {
        let undo = entry.desired.resource.lifecycle().undo(&entry.before, platform)?;
        apply = apply.code("(").then(&undo).code(") || exit 1");
    }
    // An interrupted step may have captured without our hearing of it: then the host keeps what it has.
    let captured = entry.is_some_and(|entry| entry.origin == Origin::Applied && entry.before_digest.is_some());
    let capture = Some(resource.capture()).filter(|sh| !captured && !sh.is_empty());
    Ok(Step {
        probe: resource.probe(),
        wanted: resource.wanted(observed),
        always,
        capture,
        before_key: before_key(&desired.address),
        apply: apply.then(&resource.apply(platform)?),
        ready: ready(desired),
        timeout_s: whole_seconds(desired.timeout_ms),
        blobs: resource
            .contents()
            .iter()
            .map(|content| content.sha256.clone())
            .collect(),
        only_if_changed: Vec::new(),
        drops_before: false,
    })
}

/// Compiles a delete: the undo of what the ledger has.
pub(super) fn delete(entry: &LedgerEntry, platform: &Platform) -> Result<Step, Unsupported> {
    let resource = entry.desired.resource.lifecycle();
    let wanted = resource.wanted_after_undo(&entry.before);
    Ok(Step {
        probe: resource.probe(),
        always: wanted.is_empty(),
        wanted,
        capture: None,
        before_key: before_key(&entry.desired.address),
        apply: resource.undo(&entry.before, platform)?,
        ready: None,
        timeout_s: whole_seconds(entry.desired.timeout_ms),
        blobs: resource
            .undo_contents()
            .iter()
            .map(|content| content.sha256.clone())
            .collect(),
        only_if_changed: Vec::new(),
        drops_before: true,
    })
}

/// Compiles a restart, which runs although the probe is content.
pub(super) fn restart(service: &DesiredResource, observed: &Attributes, restart: Sh, only_if: Vec<u32>) -> Step {
    Step {
        probe: service.resource.lifecycle().probe(),
        wanted: service.resource.lifecycle().wanted(observed),
        always: true,
        capture: None,
        before_key: before_key(&service.address),
        apply: restart,
        ready: ready(service),
        timeout_s: whole_seconds(service.timeout_ms),
        blobs: std::collections::BTreeSet::new(),
        only_if_changed: only_if,
        drops_before: false,
    }
}

/// 128 bits of the address's digest: a name that no file system trips over.
fn before_key(address: &Address) -> String {
    let mut key = sha256_hex(address.to_string().as_bytes());
    key.truncate(32);
    key
}

/// The user's own sh runs in a shell of its own, with its variables in the environment.
fn ready(desired: &DesiredResource) -> Option<StepReady> {
    let ready = desired.ready.as_ref()?;
    let mut check = Sh::new();
    for (name, value) in &desired.env {
        check = check.export(name, value);
    }
    Some(StepReady {
        // The newline in front keeps a check that begins with `-` from being an option.
        check: check
            .set("hf_check", &ready.check)
            .code("/bin/sh -c \"$hf_nl$hf_check\" </dev/null"),
        timeout_s: whole_seconds(ready.timeout_ms),
        every_s: whole_seconds(ready.every_ms),
    })
}

/// Rounds up, and to one second at least: `sleep` of old hosts knows no fractions.
fn whole_seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000).max(1)
}
