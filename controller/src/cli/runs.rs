//! `holdfast runs`: the latest runs, or what one of them did.

use crate::cli::args::{Global, RunsArgs, RunsCommand};
use crate::cli::error::{CliError, CliResult};
use crate::cli::{open_store, store_error};
use crate::load::{Project, Scope};
use crate::redact;
use crate::store::{Attempt, RunDetail, RunView, Store, StoreError};
use crate::view::sanitize::one_line;
use crate::view::terminal::{data, data_line};
use crate::view::time::moment;
use crate::view::{recap, run as view};
use comfy_table::{Table, presets};
use holdfast_inventory::HostName;
use holdfast_plan::event::{Event, JobEnded};
use holdfast_plan::observation::{JobReport, JobState, StepReport};
use holdfast_plan::report::Report;
use std::collections::BTreeSet;

/// Runs the command.
pub async fn run(global: &Global, args: &RunsArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let limit = project.limit_hosts()?;
    let store = open_store(&project).await?;
    let doing = |error| store_error(&error);
    if let Some(RunsCommand::Show { id }) = &args.command {
        let Some(found) = store.run(id).await.map_err(doing)? else {
            return Err(CliError::hinted(
                format!("no run, or more than one, has an id that begins with `{id}`"),
                "`holdfast runs` lists them",
            ));
        };
        let events = store.events_of_run(&found.run.run).await.map_err(doing)?;
        let mut report = report_of(&store, &found, events.iter().map(|stored| &stored.record.event)).await?;
        if let Some(limit) = &limit {
            report.keep_only(limit);
        }
        if global.json {
            let events: Vec<_> = events.iter().map(|stored| &stored.record).collect();
            let mut document = serde_json::json!({
                "schema": 1, "run": found.run.run, "hosts": view::document(&report), "recap": report.tally, "events": events,
            });
            view::with_words(&mut document);
            redact::document(&mut document);
            data_line(&document.to_string());
            return Ok(0);
        }
        data_line(&format!("run      {}", found.run.run));
        data_line(&format!("command  {}", one_line(&found.run.command)));
        data_line(&format!("by       {}", one_line(&found.run.by)));
        data_line(&format!("started  {}", moment(found.run.started)));
        data_line(&format!("ended    {}\n", ended(&found.run)));
        data(&view::render(&report));
        return Ok(0);
    }
    let mut runs = latest(&store, args.number, limit.as_ref()).await.map_err(doing)?;
    for run in &mut runs {
        learn(&store, run).await?;
    }
    if global.json {
        let list: Vec<_> = runs
            .iter()
            .map(|run| {
                serde_json::json!({
                    "run": run.run, "for": run.kind, "hosts": run.hosts, "by": run.by, "command": run.command,
                    "started": run.started, "ended": run.ended, "recap": run.recap,
                })
            })
            .collect();
        data_line(&serde_json::json!({ "schema": 1, "runs": list }).to_string());
        return Ok(0);
    }
    if runs.is_empty() {
        data_line("No run yet");
        return Ok(0);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["RUN", "STARTED", "COMMAND", "HOW IT ENDED"]);
    for run in &runs {
        let ended = run
            .recap
            .as_ref()
            .map_or_else(|| "has not ended".to_owned(), recap::fleet_line);
        table.add_row([run.run.short(), moment(run.started), one_line(&run.command), ended]);
    }
    data(&format!("{table}\n"));
    Ok(0)
}

/// Brings the counts of a run up to date whose hosts were not all known when it ended.
async fn learn(store: &Store, run: &mut RunView) -> CliResult<()> {
    let open = run.recap.as_ref().is_some_and(|recap| recap.unknown > 0);
    let doing = |error| store_error(&error);
    if open && let Some(found) = store.run(run.run.as_str()).await.map_err(doing)? {
        let events = store.events_of_run(&run.run).await.map_err(doing)?;
        let report = report_of(store, &found, events.iter().map(|stored| &stored.record.event)).await?;
        run.recap = Some(report.tally);
    }
    Ok(())
}

/// When a run ended, and how long it took.
fn ended(run: &RunView) -> String {
    let Some(at) = run.ended else {
        return "not yet, or its controller was killed".to_owned();
    };
    let seconds = (at.0 - run.started.0).max(0) / 1000;
    format!("{} ({seconds} s)", moment(at))
}

/// Makes the report that the run's own command printed, with each step. What later commands heard of its jobs is in it.
async fn report_of(store: &Store, found: &RunDetail, events: impl Iterator<Item = &Event>) -> CliResult<Report> {
    let mut report = Report::detailed();
    let told = |attempt: &Attempt| {
        let machine = attempt.intent.as_ref().map(|intent| intent.machine.clone());
        let event = move |step: &StepReport| {
            Some(Event::StepReported {
                machine: machine.clone()?,
                attempt: attempt.attempt.clone(),
                report: step.clone(),
            })
        };
        attempt.steps.iter().filter_map(event).collect::<Vec<Event>>()
    };
    let mut open: Vec<&Attempt> = found.attempts.iter().collect();
    for event in events {
        // The events of a job name no run; they count before the end of their attempt.
        if let Event::AttemptEnded {
            attempt: Some(attempt), ..
        } = event
        {
            for ended in open.extract_if(.., |known| known.attempt == *attempt) {
                told(ended).iter().for_each(|step| report.apply(step));
            }
        }
        report.apply(event);
    }
    for attempt in open {
        told(attempt).iter().for_each(|step| report.apply(step));
    }
    for attempt in &found.attempts {
        let (state, end) = match &attempt.ended {
            Some(JobEnded::Ended { end }) => (JobState::Done, Some(end.clone())),
            Some(JobEnded::Interrupted) => (JobState::Interrupted, None),
            Some(JobEnded::NeverStarted) | None => continue,
        };
        report.learn(&JobReport {
            attempt: attempt.attempt.clone(),
            state,
            end,
            steps: attempt.steps.clone(),
        });
    }
    if let Some(plan) = &found.run.plan {
        match store.load_plan(plan).await {
            Ok(Some(plan)) => report.count_as_desired(&plan),
            Ok(None) => {}
            // Of what needed no step nothing is told then; all else is.
            Err(error) => tracing::info!("plan {plan} can't be read: {error}"),
        }
    }
    Ok(report)
}

/// The latest runs; with a limit those that were for any of its hosts, which shows only in each of them.
async fn latest(store: &Store, number: u32, limit: Option<&BTreeSet<HostName>>) -> Result<Vec<RunView>, StoreError> {
    let mut window = number;
    loop {
        let mut runs = store.runs(window).await?;
        let all = runs.len() < usize::try_from(window).unwrap_or(usize::MAX) || window == u32::MAX;
        if let Some(limit) = limit {
            runs.retain(|run| run.hosts.iter().any(|host| limit.contains(host)));
        }
        let wanted = usize::try_from(number).unwrap_or(usize::MAX);
        if all || runs.len() >= wanted {
            runs.truncate(wanted);
            return Ok(runs);
        }
        window = window.saturating_mul(4).max(1);
    }
}
