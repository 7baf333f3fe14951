//! `holdfast agent install|status|remove`: the agent on hosts, through the built-in blueprint.
//!
//! Installing is an apply of that blueprint and removing is leaving it out; both go over plain SSH, since the agent
//! may be missing or broken. Hosts that can't have an agent are told why, and the others go on.

use crate::agent_blueprint::{self, AgentBinary};
use crate::cli::args::{AgentCommand, AgentInstallArgs, AgentRemoveArgs, Global, PatternArgs};
use crate::cli::error::{CliError, CliResult, chain};
use crate::cli::planning::{self, Wanted};
use crate::cli::{carry_out, fleet, open_store, store_error, tell_traffic};
use crate::fleet::Fleet;
use crate::load::{Project, Scope};
use crate::observe::observe;
use crate::outcomes;
use crate::probes;
use crate::store::Store;
use crate::transport::{Target, TransportError, Via};
use crate::view::fold::fold;
use crate::view::plan::PlanView;
use crate::view::sanitize::one_line;
use crate::view::terminal::{RED, data_line, note, paint};
use crate::view::time::ago;
use comfy_table::{Table, presets};
use holdfast_agent::wire::Status;
use holdfast_inventory::HostName;
use holdfast_inventory::document::parse_duration_ms;
use holdfast_plan::content::Blobs;
use holdfast_plan::ids::Timestamp;
use holdfast_plan::outcome::Outcome;
use holdfast_plan::planner::Mode;
use holdfast_plan::resource::DesiredResource;
use std::collections::BTreeMap;

/// Exit code when a host was refused: the same as of a failed host.
const REFUSED: i32 = 2;

/// Runs the command.
pub async fn run(global: &Global, command: &AgentCommand) -> CliResult<i32> {
    match command {
        AgentCommand::Install(args) => install(global, args).await,
        AgentCommand::Status(args) => status(global, args).await,
        AgentCommand::Remove(args) => remove(global, args).await,
    }
}

async fn install(global: &Global, args: &AgentInstallArgs) -> CliResult<i32> {
    let every_s = seconds(&args.every)?;
    let project = Project::load(global, Scope::Inventory)?;
    let hosts = project.select(Some(&args.pattern))?;
    let binary = agent_blueprint::find(args.binary.as_deref()).map_err(|error| CliError::new(chain(&error)))?;
    let store = open_store(&project).await?;
    let fleet = fleet(&project, global);
    let targets = without_agent(project.targets(&hosts)?);
    let mut blobs = Blobs::default();
    let Made {
        desired,
        refused,
        unasked,
    } = resources_of(&store, &fleet, &targets, &binary, &mut blobs).await?;
    tell_refused(&refused, global.json);
    let mut code = if refused.is_empty() { 0 } else { REFUSED };
    let targets = without(targets, &refused);
    if !targets.is_empty() {
        let wanted = Wanted {
            targets,
            desired,
            blobs,
            mode: Mode::Converge,
            scope: planning::Scope::Agent,
            unasked,
        };
        code |=
            carry_out::plan_and_run(&store, &fleet, &wanted, PlanView::default(), options(args.yes, global)).await?;
        let reached = without(wanted.targets, &wanted.unasked);
        let failed = probes::push_probes(&store, &fleet, reached, Some(every_s))
            .await
            .map_err(|error| store_error(&error))?;
        tell_unpushed(failed.iter().map(|(host, error)| (host, error)));
    }
    tell_traffic(global, &fleet, None);
    Ok(code)
}

/// What each host shall have, and which have no say in it.
#[derive(Default)]
struct Made {
    desired: BTreeMap<HostName, Vec<DesiredResource>>,
    /// Hosts that can't have the agent, with the reason.
    refused: Vec<(HostName, String)>,
    /// Hosts that did not say what they are.
    unasked: Vec<(HostName, Outcome)>,
}

async fn resources_of(
    store: &Store,
    fleet: &Fleet,
    targets: &[Target],
    binary: &AgentBinary,
    blobs: &mut Blobs,
) -> CliResult<Made> {
    let observed = observe(store, fleet, targets.to_vec(), &BTreeMap::new(), Mode::Converge)
        .await
        .map_err(|error| store_error(&error))?;
    let mut all = Made::default();
    for (target, (host, result)) in targets.iter().zip(observed) {
        let known = match result {
            Ok(known) => known,
            Err(outcome) => {
                all.unasked.push((host, outcome));
                continue;
            }
        };
        let facts = &known.observation.facts;
        let made = agent_blueprint::resources(
            &facts.platform(),
            facts.get("arch"),
            target.state_dir.as_deref(),
            binary,
            blobs,
        );
        match made {
            Ok(resources) => {
                all.desired.insert(host, resources);
            }
            Err(error) => all.refused.push((host, error.to_string())),
        }
    }
    Ok(all)
}

async fn status(global: &Global, args: &PatternArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let hosts = project.select(args.pattern.as_deref())?;
    let fleet = fleet(&project, global);
    let asked = ask(&fleet, project.targets(&hosts)?).await;
    let failed = asked.iter().any(|(_, result)| result.is_err());
    if global.json {
        let rows: Vec<_> = asked.iter().map(|(host, result)| row(host, result)).collect();
        data_line(&serde_json::json!({ "schema": 1, "agents": rows }).to_string());
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["HOST", "AGENT", "DAEMON", "LAST PROBED", "EVERY", "UNCOLLECTED"]);
        let now = crate::now();
        for (host, result) in &asked {
            table.add_row(match result {
                Ok(Some(status)) => [
                    host.to_string(),
                    one_line(&status.version),
                    status
                        .daemon_pid
                        .map_or("not running".to_owned(), |pid| format!("pid {pid}")),
                    status
                        .last_probe_at_ms
                        .map_or("never".to_owned(), |at| ago(Timestamp(at), now)),
                    if status.interval_s == 0 {
                        "-".to_owned()
                    } else {
                        format!("{} s", status.interval_s)
                    },
                    status.pending.to_string(),
                ],
                Ok(None) => blank(host, "none"),
                Err(_) => blank(host, "?"),
            });
        }
        data_line(&table.trim_fmt());
        tell_unreached(&asked);
    }
    tell_traffic(global, &fleet, None);
    Ok(if failed { 4 } else { 0 })
}

fn blank(host: &HostName, what: &str) -> [String; 6] {
    let dash = || "-".to_owned();
    [host.to_string(), what.to_owned(), dash(), dash(), dash(), dash()]
}

/// What a host said of its agent: `None` if it has none.
type Asked = (HostName, Result<Option<Status>, TransportError>);

fn row(host: &HostName, result: &Result<Option<Status>, TransportError>) -> serde_json::Value {
    match result {
        Ok(Some(status)) => serde_json::json!({
            "host": host, "installed": true, "version": status.version, "daemon_pid": status.daemon_pid,
            "last_probe_at": status.last_probe_at_ms, "every_s": status.interval_s, "pending": status.pending,
            "oldest_at": status.oldest_at_ms, "spool": status.spool, "probes": status.probes_digest,
            "state_dir": status.state_dir,
        }),
        Ok(None) => serde_json::json!({ "host": host, "installed": false }),
        Err(error) => serde_json::json!({ "host": host, "outcome": outcomes::unreachable(error) }),
    }
}

/// Asks the agents of hosts how they are.
async fn ask(fleet: &Fleet, targets: Vec<Target>) -> Vec<Asked> {
    fleet
        .each(targets, |fleet, target| async move {
            let mut session = match fleet.reach_agent(&target).await {
                Ok(session) => session,
                Err(TransportError::AgentMissing { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            let status = session.status().await;
            fleet.close(Box::new(session)).await;
            status.map(Some)
        })
        .await
}

fn tell_unreached(asked: &[Asked]) {
    let texts = asked
        .iter()
        .filter_map(|(host, result)| Some((host.clone(), result.as_ref().err()?)))
        .map(|(host, error)| (host, format!("{error}\n    {}", error.hint())));
    for block in fold(texts) {
        note(&format!(
            "{} {}: {}",
            paint(RED, "not asked:"),
            block.title(),
            block.text
        ));
    }
}

async fn remove(global: &Global, args: &AgentRemoveArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let hosts = project.select(Some(&args.pattern))?;
    let store = open_store(&project).await?;
    let fleet = fleet(&project, global);
    let targets = without_agent(project.targets(&hosts)?);
    let mut refused = Vec::new();
    let mut unasked = Vec::new();
    for (host, result) in ask(&fleet, targets.clone()).await {
        match result {
            // Without an agent there is nothing to lose; the ledger tells what is left to take away.
            Ok(None) => {}
            Ok(Some(status)) if status.pending == 0 => {}
            Ok(Some(status)) => {
                let why = uncollected(&host, status.pending);
                refused.push((host, why));
            }
            // Reports may wait there: that can't be told, so nothing is taken away.
            Err(error) => unasked.push((host, outcomes::unreachable(&error))),
        }
    }
    tell_refused(&refused, global.json);
    let mut code = if refused.is_empty() { 0 } else { REFUSED };
    let targets = without(targets, &refused);
    if !targets.is_empty() {
        let wanted = Wanted {
            targets,
            desired: BTreeMap::new(),
            blobs: Blobs::default(),
            mode: Mode::Converge,
            scope: planning::Scope::Agent,
            unasked,
        };
        code |=
            carry_out::plan_and_run(&store, &fleet, &wanted, PlanView::default(), options(args.yes, global)).await?;
    }
    tell_traffic(global, &fleet, None);
    Ok(code)
}

fn uncollected(host: &HostName, pending: u64) -> String {
    let reports = if pending == 1 { "report waits" } else { "reports wait" };
    format!("{pending} {reports} to be collected and would be lost\n    holdfast collect {host}")
}

/// The targets that a list does not name.
fn without<T>(mut targets: Vec<Target>, named: &[(HostName, T)]) -> Vec<Target> {
    targets.retain(|target| !named.iter().any(|(host, _)| *host == target.name));
    targets
}

fn options(yes: bool, global: &Global) -> carry_out::Options {
    carry_out::Options {
        yes,
        max_failures: None,
        json: global.json,
        push_probes: false,
    }
}

/// Reaches hosts without their agent, which may be missing, broken, or about to be replaced.
fn without_agent(mut targets: Vec<Target>) -> Vec<Target> {
    for target in &mut targets {
        if target.via == Via::Agent {
            target.via = Via::Ssh;
        }
    }
    targets
}

fn seconds(every: &str) -> CliResult<u32> {
    parse_duration_ms(every)
        .filter(|ms| *ms >= 1000)
        .and_then(|ms| u32::try_from(ms / 1000).ok())
        .ok_or_else(|| {
            CliError::hinted(
                format!("`{every}` is no time of at least a second"),
                "write it as `60s`, `5m` or `1h`",
            )
        })
}

/// Tells hosts that were refused: a JSON line each, or folded text.
fn tell_refused(refused: &[(HostName, String)], json: bool) {
    if json {
        for (host, why) in refused {
            data_line(&serde_json::json!({ "schema": 1, "host": host, "refused": why }).to_string());
        }
        return;
    }
    for block in fold(refused.iter().cloned()) {
        note(&format!("{} {}: {}", paint(RED, "refused:"), block.title(), block.text));
    }
}

/// Notes the agents that did not take their probes; the next `collect` tries again.
pub fn tell_unpushed<'a>(failed: impl IntoIterator<Item = (&'a HostName, &'a TransportError)>) {
    let texts = failed
        .into_iter()
        .map(|(host, error)| (host.clone(), error.to_string()));
    for block in fold(texts) {
        note(&format!(
            "{}: the agent did not get its new probes ({}); `holdfast collect` tries again",
            block.title(),
            block.text
        ));
    }
}
