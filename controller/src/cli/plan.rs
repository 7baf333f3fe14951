//! `holdfast plan`: what would change, and why. Writes nothing on any host.

use crate::cli::args::{Global, PlanArgs};
use crate::cli::error::CliResult;
use crate::cli::planning::{self, Planned, Wanted};
use crate::cli::saved_plan::SavedPlan;
use crate::cli::{explain, fleet, open_store, store_error, tell_traffic};
use crate::load::{Project, Scope};
use crate::now;
use crate::view::plan::{PlanView, render};
use crate::view::terminal::{data, data_line, note};
use holdfast_plan::planner::Mode;
use std::path::PathBuf;

/// Runs the command.
pub async fn run(global: &Global, args: &PlanArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::All)?;
    let hosts = project.select(args.pattern.as_deref())?;
    let desired = project.desired(&hosts)?;
    let store = open_store(&project).await?;
    let fleet = fleet(&project, global);
    let wanted = Wanted {
        targets: project.targets(&hosts)?,
        desired: desired.hosts,
        blobs: desired.blobs,
        mode: Mode::Converge,
        scope: planning::Scope::Project,
        unasked: Vec::new(),
    };
    let explained = explain::addresses(&store, &wanted, &args.explain).await?;
    let planned = planning::make(&store, &fleet, &wanted).await?;
    if !explained.is_empty() {
        explain::show(&project, &planned, &wanted, &explained, args.no_fold, global.json);
        tell_traffic(global, &fleet, planned.forks);
        return Ok(planning::exit_code(&planned, args.detailed_exitcode));
    }
    // Half a plan must not be taken for the whole.
    let out = args.out.as_ref().filter(|_| !global.cancel.is_stopped());
    if let Some(file) = out {
        store
            .save_plan(&planned.plan, now())
            .await
            .map_err(|error| store_error(&error))?;
        SavedPlan::of(&planned.plan, &planned.blobs).write(file)?;
    }
    if global.json {
        data_line(&planning::document(&planned).to_string());
    } else {
        show(&planned, args, out);
    }
    if out.is_none() && args.out.is_some() {
        global.cancel.cut_short();
        note("Interrupted: the plan was not saved");
    }
    tell_traffic(global, &fleet, planned.forks);
    Ok(planning::exit_code(&planned, args.detailed_exitcode))
}

fn show(planned: &Planned, args: &PlanArgs, out: Option<&PathBuf>) {
    let view = PlanView {
        all: args.all,
        diff: !args.no_diff,
        scripts: args.show_script,
        every: args.no_fold,
    };
    data(&render(&planned.plan, view));
    planning::tell_unobserved(&planned.unobserved);
    if let Some(file) = out {
        note(&format!(
            "Saved. To carry out exactly this plan: holdfast apply {}",
            file.display()
        ));
    }
}
