//! `holdfast collect`: takes what agents have spooled, in order and once.
//!
//! ```text
//! agent's spool -> reports after the last recorded -> decoded -> one append -> acknowledged -> gone from the host
//! ```
//!
//! A crash between the append and the acknowledgement does no harm: the next collect asks for what follows the last
//! recorded report. Agents whose ledger has changed get their new probes on the way.

use crate::cli::args::{Global, PatternArgs};
use crate::cli::error::{CliError, CliResult};
use crate::cli::{agent, fleet, open_store, planning, store_error, tell_traffic};
use crate::fleet::Fleet;
use crate::link::Reply;
use crate::load::{Project, Scope};
use crate::now;
use crate::outcomes;
use crate::probes::{self, Probes};
use crate::store::Store;
use crate::transport::agent::AgentSession;
use crate::transport::{Target, TransportError};
use crate::view::fold::fold;
use crate::view::terminal::data_line;
use holdfast_agent::program::Nonce;
use holdfast_agent::reply::Decoder;
use holdfast_agent::wire::{Report, ReportKind};
use holdfast_inventory::HostName;
use holdfast_plan::address::Address;
use holdfast_plan::content::sha256_hex;
use holdfast_plan::event::Event;
use holdfast_plan::ids::{MachineId, Timestamp};
use holdfast_plan::observation::Attributes;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Reports recorded at once: one fsync for many, and what a host that was away for weeks has spooled is never in
/// memory as a whole.
const BATCH: usize = 64;

/// Reports taken from one host at a time: an agent keeps a thousand, and a few may come meanwhile.
const REPORTS_MAX: u64 = 1_200;

/// Bytes taken from one host at a time: an agent keeps 16 MiB, and the last report may be one too many.
const REPORTS_BYTES_MAX: usize = 18 * 1024 * 1024;

/// How long reports are taken from one host at a time: a thousand over a slow line take minutes, and an agent that tells
/// one a minute would be listened to for a day.
const COLLECT_MAX: Duration = Duration::from_secs(300);

/// The longest id of a spool: a UUID has 36 letters.
const SPOOL_BYTES_MAX: usize = 64;

/// The highest number that a report may have: one a second for thirty thousand years. What is above is no count.
const NUMBER_MAX: u64 = 1 << 40;

/// Bytes of one report's attributes that enter the record. What the agent itself sends is within it: a host with a
/// thousand resources tells some 100 KiB.
const RECORDED_BYTES_MAX: usize = 1024 * 1024;

/// What was taken from one host.
#[derive(Debug, Default)]
struct Taken {
    recorded: u64,
    lost: u64,
    /// Reports that tell only that the probes failed, or that can't be read; the last one's reason.
    unreadable: Option<String>,
    /// Whether there was more than is taken at a time.
    more: bool,
    /// Why the new probes were not taken.
    unpushed: Option<TransportError>,
}

/// Why nothing was taken.
enum Missed {
    /// The host has no agent.
    NoAgent,
    /// The host was never applied to: there is no machine to record for.
    NoMachine,
    /// It could not be reached, or its agent failed.
    Host(TransportError),
    /// Our own store failed.
    Store(CliError),
}

impl From<TransportError> for Missed {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::AgentMissing { .. } => Self::NoAgent,
            error => Self::Host(error),
        }
    }
}

/// Runs the command.
pub async fn run(global: &Global, args: &PatternArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let hosts = project.select(args.pattern.as_deref())?;
    let store = open_store(&project).await?;
    let fleet = fleet(&project, global);
    let targets = project.targets(&hosts)?;
    let made = probes::prepare(&store, &targets)
        .await
        .map_err(|error| store_error(&error))?;
    let store_of = store.clone();
    let results = fleet
        .each(targets, move |fleet, target| {
            let store = store_of.clone();
            let probes = made.get(&target.name).cloned();
            async move { Ok(take(&store, &fleet, &target, probes.as_ref()).await) }
        })
        .await;
    let mut taken = Vec::new();
    for (host, result) in results {
        match result {
            Ok(Err(Missed::Store(error))) => return Err(error),
            Ok(result) => taken.push((host, result)),
            Err(error) => taken.push((host, Err(Missed::Host(error)))),
        }
    }
    tell(&taken, global.json);
    tell_traffic(global, &fleet, None);
    let unreached = taken.iter().any(|(_, result)| matches!(result, Err(Missed::Host(_))));
    Ok(if unreached { 4 } else { 0 })
}

async fn take(store: &Store, fleet: &Fleet, target: &Target, probes: Option<&Probes>) -> Result<Taken, Missed> {
    let machine = store
        .machine_of(&target.name)
        .await
        .map_err(|error| Missed::Store(store_error(&error)))?;
    let mut session = fleet.reach_agent(target).await?;
    let taken = match (machine, probes) {
        (Some(machine), Some(probes)) => take_all(store, &mut session, &target.name, &machine, probes).await,
        _ => Err(Missed::NoMachine),
    };
    fleet.close(Box::new(session)).await;
    taken
}

async fn take_all(
    store: &Store,
    session: &mut AgentSession,
    host: &HostName,
    machine: &MachineId,
    probes: &Probes,
) -> Result<Taken, Missed> {
    let doing = |error| Missed::Store(store_error(&error));
    let status = session.status().await?;
    // It is stored with each report: an id, and nothing that a host likes to say.
    if status.spool.len() > SPOOL_BYTES_MAX || !status.spool.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(broken("its spool has no plain id").into());
    }
    // Reports are dated by the host's clock, and compared with what we saw by ours.
    let ahead_ms = status.now_ms.map_or(0, |theirs| theirs.saturating_sub(now().0));
    let mut taken = Taken::default();
    let known = store.reports(host).await.map_err(doing)?;
    let in_spool = known
        .iter()
        .filter(|report| report.machine == *machine && report.spool == status.spool);
    let after = in_spool.map(|report| report.number).max().unwrap_or(0);
    let mut collection = session.collect(Some((&status.spool, after))).await?;
    let mut intake = Intake::after(&status.spool, after);
    let until = Instant::now() + COLLECT_MAX;
    let mut events = Vec::new();
    while let Some(report) = collection.next().await? {
        if !intake.admits(&report, Instant::now() < until)? {
            taken.more = true;
            break;
        }
        let (event, unreadable) = recorded(store, host, machine, &report, ahead_ms).await?;
        taken.unreadable = unreadable.or(taken.unreadable);
        taken.recorded += 1;
        events.push(event);
        if events.len() == BATCH {
            store.append(now(), std::mem::take(&mut events)).await.map_err(doing)?;
        }
    }
    let end = collection.end().cloned();
    // Drops the wire if there is more to come: what is said on it is not read.
    drop(collection);
    if !events.is_empty() {
        store.append(now(), events).await.map_err(doing)?;
    }
    let newest = match end {
        Some(end) if end.spool != status.spool => {
            return Err(broken("its spool was replaced while it was collected; collect again").into());
        }
        // Numbers above the last report that came are of lost ones.
        Some(end) if end.newest_seq <= NUMBER_MAX => {
            taken.lost = end.lost;
            intake.last.max(end.newest_seq)
        }
        None if taken.more => intake.last,
        _ => return Err(broken("it ended a collection without saying so").into()),
    };
    if newest > 0 {
        session.ack(&status.spool, newest).await?;
    }
    taken.unpushed = probes::push(session, &status, probes, None).await.err();
    Ok(taken)
}

/// What is taken of one host's reports at a time: in order, once, and no more than an agent can have.
struct Intake<'s> {
    spool: &'s str,
    last: u64,
    reports: u64,
    bytes: usize,
}

impl<'s> Intake<'s> {
    fn after(spool: &'s str, last: u64) -> Self {
        Self {
            spool,
            last,
            reports: 0,
            bytes: 0,
        }
    }

    /// Tells whether the next report is taken; `false` if it is one too many, or too late. Unique and in order is what the
    /// store relies on.
    fn admits(&mut self, report: &Report, in_time: bool) -> Result<bool, TransportError> {
        if report.spool != self.spool || report.seq <= self.last {
            return Err(broken("its reports are not in order, or of another spool"));
        }
        if report.seq > NUMBER_MAX {
            return Err(broken("a report has a number that no agent reaches"));
        }
        if !in_time || self.reports == REPORTS_MAX || self.bytes + report.bytes.len() > REPORTS_BYTES_MAX {
            return Ok(false);
        }
        self.last = report.seq;
        self.reports += 1;
        self.bytes += report.bytes.len();
        Ok(true)
    }
}

fn broken(what: &str) -> TransportError {
    TransportError::Agent {
        detail: what.to_owned(),
    }
}

/// Makes the event of a report, and says why nothing can be read from it, if so. It is recorded all the same: what is
/// not would be sent for ever.
async fn recorded(
    store: &Store,
    host: &HostName,
    machine: &MachineId,
    report: &Report,
    ahead_ms: i64,
) -> Result<(Event, Option<String>), Missed> {
    let (resources, unreadable) = match resources(store, report).await.map_err(Missed::Store)? {
        Ok(resources) => (resources, None),
        Err(why) => (BTreeMap::new(), Some(why)),
    };
    let event = Event::ReportRecorded {
        host: host.clone(),
        machine: machine.clone(),
        spool: report.spool.clone(),
        seq: report.seq,
        digest: sha256_hex(&report.bytes),
        observed_at: Timestamp(report.at_ms.saturating_sub(ahead_ms)),
        resources,
    };
    Ok((event, unreadable))
}

/// Reads the attributes of resources out of a report.
async fn resources(store: &Store, report: &Report) -> CliResult<Result<BTreeMap<Address, Attributes>, String>> {
    if report.kind() == ReportKind::ProbesFailed {
        return Ok(Err(format!(
            "the probes failed: {}",
            String::from_utf8_lossy(&report.bytes).trim()
        )));
    }
    let Some(addresses) = probes::addresses(store, &report.probes_digest)
        .await
        .map_err(|error| store_error(&error))?
    else {
        return Ok(Err(format!("its probes ({}) are not known here", report.probes_digest)));
    };
    let found = attributes(report).and_then(|found| {
        let bytes: usize = found
            .values()
            .flat_map(|one| &one.0)
            .map(|(key, value)| key.len() + value.len())
            .sum();
        match bytes {
            0..=RECORDED_BYTES_MAX => Ok(found),
            _ => Err(format!(
                "its attributes have {bytes} bytes; the limit is {RECORDED_BYTES_MAX}"
            )),
        }
    });
    Ok(found.map(|mut found| {
        let named = addresses.into_iter().zip(0u32..);
        named
            .filter_map(|(address, id)| Some((address, found.remove(&id)?)))
            .collect()
    }))
}

fn attributes(report: &Report) -> Result<BTreeMap<u32, Attributes>, String> {
    let nonce = Nonce::parse(&report.nonce).ok_or("its nonce is none")?;
    let mut decoder = Decoder::new(&nonce);
    let records = decoder.push(&report.bytes).map_err(|error| error.to_string())?;
    if let Some(error) = decoder.failed() {
        return Err(error.to_string());
    }
    if !decoder.is_done() {
        return Err("it was cut".to_owned());
    }
    let mut reply = Reply::default();
    for record in records {
        reply.take(record);
    }
    Ok(reply.attributes)
}

fn tell(taken: &[(HostName, Result<Taken, Missed>)], json: bool) {
    if json {
        let rows: Vec<_> = taken.iter().map(|(host, result)| row(host, result)).collect();
        data_line(&serde_json::json!({ "schema": 1, "collected": rows }).to_string());
        return;
    }
    let lines = taken
        .iter()
        .filter_map(|(host, result)| Some((host.clone(), line(result)?)));
    for block in fold(lines) {
        data_line(&format!("{}: {}", block.title(), block.text));
    }
    let missed = taken.iter().filter_map(|(host, result)| match result {
        Err(Missed::Host(error)) => Some((host.clone(), outcomes::unreachable(error))),
        _ => None,
    });
    planning::tell_cases("not collected:", &missed.collect::<Vec<_>>());
    for (host, result) in taken {
        if let Ok(Taken {
            unpushed: Some(error), ..
        }) = result
        {
            agent::tell_unpushed([(host, error)]);
        }
    }
}

fn row(host: &HostName, result: &Result<Taken, Missed>) -> serde_json::Value {
    match result {
        Ok(taken) => serde_json::json!({
            "host": host, "recorded": taken.recorded, "lost": taken.lost, "more": taken.more,
            "unreadable": taken.unreadable,
        }),
        Err(Missed::Host(error)) => serde_json::json!({ "host": host, "outcome": outcomes::unreachable(error) }),
        Err(Missed::NoMachine) => serde_json::json!({ "host": host, "machine": null }),
        Err(Missed::NoAgent | Missed::Store(_)) => serde_json::json!({ "host": host, "installed": false }),
    }
}

/// What is told of a host that was asked.
fn line(result: &Result<Taken, Missed>) -> Option<String> {
    Some(match result {
        Ok(taken) => {
            let reports = if taken.recorded == 1 { "report" } else { "reports" };
            let mut line = format!("{} {reports} recorded", taken.recorded);
            if taken.lost > 0 {
                line.push_str(&format!(
                    "; {} lost before they could be collected (the spool was full)",
                    taken.lost
                ));
            }
            if taken.more {
                line.push_str(
                    "; there is more than an agent keeps: collect again, and look at that host if it never ends",
                );
            }
            if let Some(why) = &taken.unreadable {
                line.push_str(&format!("; not all of them say how resources are: {why}"));
            }
            crate::view::sanitize::one_line(&line)
        }
        Err(Missed::NoAgent) => "no agent; `holdfast agent install` puts one there".to_owned(),
        Err(Missed::NoMachine) => {
            "an agent that this project did not install; `holdfast agent install` takes it over".to_owned()
        }
        // Those are told with what to do; our own failure ends the command before anything is told.
        Err(Missed::Host(_) | Missed::Store(_)) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seq: u64, bytes: usize) -> Report {
        Report {
            spool: "s".to_owned(),
            seq,
            bytes: vec![b'x'; bytes].into(),
            ..Report::default()
        }
    }

    // REVIEW H16
    #[test]
    fn an_agent_that_never_stops_reporting_is_bounded_at_each_collect() {
        let mut intake = Intake::after("s", 7);
        let taken = (8..)
            .take_while(|seq| intake.admits(&report(*seq, 1), true).expect("in order"))
            .count();
        assert_eq!(taken, 1_200, "an agent keeps a thousand");
        assert_eq!(intake.last, 1_207, "what was taken is acknowledged, and no more");
        let mut intake = Intake::after("s", 0);
        let large = 2 * 1024 * 1024;
        let taken = (1..)
            .take_while(|seq| intake.admits(&report(*seq, large), true).expect("in order"))
            .count();
        assert_eq!(taken, 9, "18 MiB of 2 MiB each");
        let mut intake = Intake::after("s", 7);
        assert!(
            !intake.admits(&report(8, 1), false).expect("in order"),
            "it takes too long"
        );
        assert_eq!(intake.last, 7);
    }

    // REVIEW H16
    #[test]
    fn a_report_is_taken_only_in_order_and_under_a_number_that_counts() {
        let mut intake = Intake::after("s", 7);
        assert!(intake.admits(&report(7, 1), true).is_err());
        assert!(
            intake.admits(&report(u64::MAX, 1), true).is_err(),
            "it would be the last one for ever"
        );
        assert!(intake.admits(&report(9, 1), true).expect("lost ones leave gaps"));
        let other = Report {
            spool: "t".to_owned(),
            ..report(10, 1)
        };
        assert!(intake.admits(&other, true).is_err());
    }
}
