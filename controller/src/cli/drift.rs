//! `holdfast drift`: where hosts no longer are what Holdfast made them, though no blueprint changed.

use crate::cli::args::{DriftArgs, Global};
use crate::cli::error::CliResult;
use crate::cli::planning::{self, Planned, Wanted};
use crate::cli::{fleet, open_store, recorded, tell_traffic};
use crate::load::{Project, Scope};
use crate::view::plan::{PlanView, render_hosts};
use crate::view::terminal::{data, data_line};
use crate::view::words::counted;
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
        diff: !args.no_diff,
        every: args.no_fold,
        ..PlanView::default()
    };
    data(&render_hosts(&planned.plan.hosts, view));
    let differs = |host: &&HostPlan| host.changes.iter().any(planning::counts);
    let hosts = planned.plan.hosts.iter().filter(differs).count();
    let resources: usize = planned
        .plan
        .hosts
        .iter()
        .map(|host| host.changes.iter().filter(|change| planning::counts(change)).count())
        .sum();
    let of = planned.plan.hosts.len();
    let missing = match planned.unobserved.len() {
        0 => String::new(),
        number => format!("; of {} nothing is known", counted(number, "more host")),
    };
    data_line(&match (of, resources) {
        (0, _) => "Nothing is known: no host could be observed".to_owned(),
        (1, 0) => format!("No drift: 1 host is what Holdfast made it{missing}"),
        (_, 0) => format!("No drift: {of} hosts are what Holdfast made them{missing}"),
        (1, _) => format!(
            "Drift: {} on 1 host; `holdfast apply` mends {}{missing}",
            counted(resources, "resource"),
            if resources == 1 { "it" } else { "them" },
        ),
        _ => format!(
            "Drift: {} on {hosts} of {of} hosts; `holdfast apply` mends {}{missing}",
            counted(resources, "resource"),
            if resources == 1 { "it" } else { "them" },
        ),
    });
    planning::tell_unobserved(&planned.unobserved);
}
