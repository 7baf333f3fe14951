//! Steps: one change compiled for one host's platform.

use crate::change::{Step, StepGuard, StepLife, StepReady};
use crate::ledger::LedgerEntry;
use crate::observation::{Attributes, Platform};
use crate::resource::{DesiredResource, Unsupported};
use crate::sh::Sh;

/// Compiles create, update, replace and what is known only later: they are one step, which looks for itself.
pub(super) fn apply(
    desired: &DesiredResource,
    life: StepLife,
    observed: &Attributes,
    platform: &Platform,
    always: bool,
) -> Result<Step, Unsupported> {
    let resource = desired.resource.lifecycle();
    Ok(Step {
        number: 0,
        probe: resource.probe(),
        wanted: resource.wanted(observed),
        always,
        life,
        apply: resource.apply(platform)?,
        ready: ready(desired),
        timeout_s: whole_seconds(desired.timeout_ms),
        blobs: resource
            .contents()
            .iter()
            .map(|content| content.sha256.clone())
            .collect(),
        only_if_changed: Vec::new(),
        guard: None,
    })
}

/// Compiles an undo: the way back to what was there before the life of an entry. `None` where there is none: it was
/// adopted, or its type can't be undone.
pub(super) fn undo(entry: &LedgerEntry, platform: &Platform) -> Result<Option<Step>, Unsupported> {
    let resource = entry.desired.resource.lifecycle();
    let Some(before) = entry.before.as_ref().filter(|_| resource.kept_because().is_none()) else {
        return Ok(None);
    };
    let wanted = resource.restored(&before.attributes, &entry.put);
    Ok(Some(Step {
        number: 0,
        probe: resource.probe(),
        always: wanted.is_empty(),
        wanted,
        life: StepLife::Ends {
            life: before.life.clone(),
            digest: before.digest.clone(),
            was: Box::new(entry.desired.clone()),
        },
        apply: resource.restore(&before.attributes, &entry.put, platform)?,
        ready: None,
        timeout_s: whole_seconds(entry.desired.timeout_ms),
        blobs: resource
            .undo_contents()
            .iter()
            .map(|content| content.sha256.clone())
            .collect(),
        only_if_changed: Vec::new(),
        guard: None,
    }))
}

/// Compiles a restart, which runs although the probe is content.
pub(super) fn restart(service: &DesiredResource, observed: &Attributes, restart: Sh, only_if: Vec<u32>) -> Step {
    Step {
        number: 0,
        probe: service.resource.lifecycle().probe(),
        wanted: service.resource.lifecycle().wanted(observed),
        always: true,
        life: StepLife::None,
        apply: restart,
        ready: ready(service),
        timeout_s: whole_seconds(service.timeout_ms),
        blobs: std::collections::BTreeSet::new(),
        only_if_changed: only_if,
        guard: None,
    }
}

/// Compiles the way back to what was observed, for a step that changes what carries us: it is taken if nobody confirms
/// over a new connection.
pub(super) fn guard(
    about: &DesiredResource,
    wanted: &[String],
    observed: &Attributes,
    platform: &Platform,
) -> Result<StepGuard, Unsupported> {
    let resource = about.resource.lifecycle();
    let mut put = Attributes::default();
    for (key, value) in wanted.iter().filter_map(|line| line.split_once(' ')) {
        put.set(key, value);
    }
    let revert = match resource.kept_because() {
        None => resource.restore(observed, &put, platform)?,
        Some(_) => Sh::new(),
    };
    Ok(StepGuard::Restore {
        capture: resource.capture(),
        revert,
    })
}

/// The user's own sh runs in a shell of its own, with its variables in the environment.
fn ready(desired: &DesiredResource) -> Option<StepReady> {
    let ready = desired.ready.as_ref()?;
    let mut check = Sh::new();
    for (name, value) in &desired.env {
        check = check.export(name, value);
    }
    Some(StepReady {
        check: check.set("hf_check", &ready.check).code(READY),
        timeout_s: whole_seconds(ready.timeout_ms),
        every_s: whole_seconds(ready.every_ms),
    })
}

/// The text of a check is nobody else's to see, so it goes by the environment and not as an argument, and what it calls does
/// not get it. The newline keeps one that begins with `-` from being an option.
const READY: &str = r#"hf_check=$hf_nl$hf_check
export hf_check
${hf_sh:-/bin/sh} -c 'hf_checked=$hf_check; unset hf_check; eval "$hf_checked"' </dev/null"#;

/// Rounds up, and to one second at least: `sleep` of old hosts knows no fractions.
fn whole_seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000).max(1)
}
