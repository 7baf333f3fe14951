//! `holdfast run PATTERN -- COMMAND`: an ad-hoc command on many hosts; identical output folded, or streamed.

use crate::SystemIds;
use crate::cli::args::{Global, RunArgs};
use crate::cli::carry_out::run_started;
use crate::cli::error::{CliError, CliResult};
use crate::cli::{fleet, input, open_store, store_error, tell_traffic};
use crate::executor::{Assignment, CommandSpec, Execution, HostWork, LostLeases, execute};
use crate::load::{Project, Scope};
use crate::output::Output;
use crate::view::command::{Gathered, NdJson, Streamed};
use crate::view::outdir::OutDir;
use crate::view::progress::Progress;
use crate::view::recap;
use crate::view::terminal::note;
use crate::view::words::typed;
use holdfast_inventory::HostName;
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
    OutDir(Arc<OutDir>),
    NdJson(Arc<NdJson>),
}

/// Runs the command.
pub async fn run(global: &Global, args: &RunArgs) -> CliResult<i32> {
    let command = command(args)?;
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
    let targets = project.targets(&hosts)?;
    let input = if args.no_input {
        None
    } else {
        input::read(&global.cancel).await?
    };
    let progress = Arc::new(Progress::new("running", hosts.len()));
    let view = view(global, args, &hosts, &progress)?;
    let output: Arc<dyn Output> = match &view {
        View::Gathered(view) => Arc::clone(view) as _,
        View::Streamed(view) => Arc::clone(view) as _,
        View::OutDir(view) => Arc::clone(view) as _,
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
            command,
            timeout,
            input,
        }),
        lost: LostLeases::default(),
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
    progress.finish();
    match &view {
        View::Gathered(view) => view.show(&report),
        View::Streamed(view) => view.finish(&report),
        View::OutDir(view) => view
            .finish(&report)
            .map_err(|(path, error)| CliError::doing(format!("write {}", path.display()), &error))?,
        View::NdJson(view) => view.finish(&report),
    }
    if !global.json && (report.hosts.len() > 1 || report.tally.ok == 0) {
        note(&recap::fleet_line(&report.tally));
    }
    tell_traffic(global, &fleet, None);
    Ok(exit_code(&report, args.largest_code))
}

/// The command as one text. Words before `--` are a command whose `--` was forgotten.
fn command(args: &RunArgs) -> CliResult<String> {
    if !args.misplaced.is_empty() {
        let words: Vec<&str> = args.misplaced.iter().chain(&args.command).map(String::as_str).collect();
        return Err(CliError::hinted(
            format!("`{}` stands before `--`", args.misplaced.join(" ")),
            format!(
                "the command comes after it: holdfast run {} -- {}",
                typed(&args.pattern),
                words.iter().map(|word| typed(word)).collect::<Vec<_>>().join(" ")
            ),
        ));
    }
    if args.command.is_empty() {
        return Err(CliError::hinted(
            "there is no command to run",
            format!("it comes after `--`: holdfast run {} -- uptime", typed(&args.pattern)),
        ));
    }
    Ok(args.command.join(" "))
}

/// Chooses how output is shown; the same whether or not anybody watches, so that a script sees what its author saw.
fn view(global: &Global, args: &RunArgs, hosts: &[HostName], progress: &Arc<Progress>) -> CliResult<View> {
    if global.json {
        return Ok(View::NdJson(Arc::new(NdJson::new(Arc::clone(progress)))));
    }
    if let Some(folder) = &args.outdir {
        let doing = |error: std::io::Error| CliError::doing(format!("use {} for output", folder.display()), &error);
        return Ok(View::OutDir(Arc::new(OutDir::create(folder).map_err(doing)?)));
    }
    let width = hosts.iter().map(|host| host.as_str().len()).max().unwrap_or(0);
    Ok(if args.stream || hosts.len() == 1 {
        View::Streamed(Arc::new(Streamed::new(Arc::clone(progress), width, hosts.len() > 1)))
    } else {
        View::Gathered(Arc::new(Gathered::default()))
    })
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
