//! `holdfast drift`: where hosts no longer are what Holdfast made them, though no blueprint changed.

use crate::cli::args::{DriftArgs, Global};
use crate::cli::error::CliResult;
use crate::cli::planning::{self, Planned, Wanted};
use crate::cli::{fleet, open_store, recorded, tell_traffic};
use crate::load::{Project, Scope};
use crate::view::fold::fold;
use crate::view::plan::{PlanView, render_host};
use crate::view::terminal::{BOLD, data, data_line, paint};
use holdfast_plan::change::HostPlan;
use holdfast_plan::content::Blobs;
use holdfast_plan::planner::Mode;
use std::collections::BTreeMap;

/// Runs the command.
pub async fn run(global: &Global, args: &DriftArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let hosts = project.select(args.pattern.as_deref())?;
    let store = open_store(&project).await?;
    if args.recorded {
        return recorded::run(global, &store, &hosts, args.detailed_exitcode).await;
    }
    let fleet = fleet(&project, global);
    let wanted = Wanted {
        targets: project.targets(&hosts)?,
        desired: BTreeMap::new(),
        blobs: Blobs::default(),
        mode: Mode::Drift,
        scope: planning::Scope::All,
        unasked: Vec::new(),
    };
    let planned = planning::make(&store, &fleet, &wanted).await?;
    if global.json {
        data_line(&planning::document(&planned).to_string());
    } else {
        show(&planned, args);
    }
    tell_traffic(global, &fleet, planned.forks);
    Ok(planning::exit_code(&planned, args.detailed_exitcode))
}

fn show(planned: &Planned, args: &DriftArgs) {
    let view = PlanView {
        all: false,
        diff: !args.no_diff,
        scripts: false,
    };
    for block in fold(
        planned
            .plan
            .hosts
            .iter()
            .map(|host| (host.host.clone(), render_host(host, view))),
    ) {
        if !block.text.is_empty() {
            data(&format!("{}\n{}\n", paint(BOLD, block.title()), block.text));
        }
    }
    let differs = |host: &&HostPlan| host.changes.iter().any(planning::counts);
    let hosts = planned.plan.hosts.iter().filter(differs).count();
    let resources: usize = planned
        .plan
        .hosts
        .iter()
        .map(|host| host.changes.iter().filter(|change| planning::counts(change)).count())
        .sum();
    let of = planned.plan.hosts.len();
    data_line(&if resources == 0 {
        format!(
            "No drift: {of} host{} what Holdfast made them",
            if of == 1 { " is" } else { "s are" }
        )
    } else {
        format!(
            "Drift: {resources} resource{} on {hosts} of {of} hosts; `holdfast apply` mends them",
            if resources == 1 { "" } else { "s" }
        )
    });
    planning::tell_unobserved(&planned.unobserved);
}
