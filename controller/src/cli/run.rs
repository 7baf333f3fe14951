//! `holdfast run PATTERN -- COMMAND`: an ad-hoc command on many hosts; identical output folded, or streamed.

use crate::SystemIds;
use crate::cli::args::{Global, RunArgs};
use crate::cli::carry_out::run_started;
use crate::cli::error::{CliError, CliResult};
use crate::cli::{fleet, open_store, store_error, tell_traffic};
use crate::executor::{Assignment, CommandSpec, Execution, HostWork, execute};
use crate::load::{Project, Scope};
use crate::output::Output;
use crate::view::command::{Gathered, NdJson, Streamed};
use crate::view::progress::Progress;
use crate::view::recap;
use crate::view::terminal::{can_ask, note};
use holdfast_inventory::document::parse_duration_ms;
use holdfast_plan::event::RunKind;
use holdfast_plan::ids::{PlanId, RunId};
use holdfast_plan::outcome::{FailureKind, Outcome};
use holdfast_plan::report::Report;
use holdfast_plan::run::{HostTask, Limits, RunSpec, Work};
use std::sync::Arc;
use std::time::Duration;

/// How long a host may take when no `--timeout` is given: a day. A command without end is ended by Ctrl-C.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(86_400);

/// Who shows the output.
enum View {
    Gathered(Arc<Gathered>),
    Streamed(Arc<Streamed>),
    NdJson(Arc<NdJson>),
}

/// Runs the command.
pub async fn run(global: &Global, args: &RunArgs) -> CliResult<i32> {
    let timeout = match &args.timeout {
        None => TIMEOUT_DEFAULT,
        Some(text) => parse_duration_ms(text).map(Duration::from_millis).ok_or_else(|| {
            CliError::hinted(
                format!("`{text}` is not a time"),
                "write a number and a unit: 500ms, 30s, 5m or 2h",
            )
        })?,
    };
    let project = Project::load(global, Scope::Inventory)?;
    let hosts = project.select(Some(&args.pattern))?;
    let store = open_store(&project).await?;
    let fleet = fleet(&project, global);
    let progress = Arc::new(Progress::new("running", hosts.len()));
    let width = hosts.iter().map(|host| host.as_str().len()).max().unwrap_or(0);
    let view = if global.json {
        View::NdJson(Arc::new(NdJson::new(Arc::clone(&progress))))
    } else if args.stream || (hosts.len() == 1 && can_ask()) {
        View::Streamed(Arc::new(Streamed::new(Arc::clone(&progress), width, hosts.len() > 1)))
    } else {
        View::Gathered(Arc::new(Gathered::default()))
    };
    let output: Arc<dyn Output> = match &view {
        View::Gathered(view) => Arc::clone(view) as _,
        View::Streamed(view) => Arc::clone(view) as _,
        View::NdJson(view) => Arc::clone(view) as _,
    };
    let run = RunId::new(&mut SystemIds);
    let tasks = hosts
        .iter()
        .map(|host| HostTask {
            host: host.clone(),
            work: Work::Command,
        })
        .collect();
    let targets = project.targets(&hosts)?;
    let execution = Execution {
        store: store.clone(),
        fleet: fleet.clone(),
        run: run.clone(),
        plan: PlanId::new(&mut SystemIds),
        hosts: targets
            .into_iter()
            .map(|target| {
                (
                    target.name.clone(),
                    HostWork {
                        target,
                        assignment: Assignment::Command,
                    },
                )
            })
            .collect(),
        command: Some(CommandSpec {
            command: args.command.join(" "),
            timeout,
        }),
        output: Some(output),
        progress: Arc::clone(&progress),
    };
    let limits = Limits {
        forks: fleet.forks(),
        max_failures: args.max_failures,
        ..Limits::default()
    };
    let started = run_started(&run, RunKind::Run, None, hosts);
    let report = execute(execution, RunSpec { hosts: tasks, limits }, started)
        .await
        .map_err(|error| store_error(&error))?;
    drop(progress);
    match &view {
        View::Gathered(view) => view.show(&report),
        View::Streamed(view) => view.finish(&report),
        View::NdJson(view) => view.finish(&report),
    }
    if !global.json && (report.hosts.len() > 1 || report.tally.ok == 0) {
        note(&recap::fleet_line(&report.tally));
    }
    tell_traffic(global, &fleet, None);
    Ok(exit_code(&report, args.largest_code))
}

/// `-S` gives the largest code of the command itself, as clush does; unreachable hosts still count as 4.
fn exit_code(report: &Report, largest: bool) -> i32 {
    let usual = i32::from(report.exit_code().0);
    if !largest {
        return usual;
    }
    let codes = report.hosts.values().filter_map(|row| match row.outcome {
        Some(Outcome::Failed {
            kind: FailureKind::Exit { code },
            ..
        }) => Some(code),
        _ => None,
    });
    codes.max().unwrap_or(usual).clamp(0, 255)
}
