//! `holdfast apply`: plan, ask, change, verify; or carry out a saved plan.

use crate::cli::args::{ApplyArgs, Global};
use crate::cli::error::{CliError, CliResult};
use crate::cli::planning::{self, Planned, Wanted};
use crate::cli::saved_plan::SavedPlan;
use crate::cli::{carry_out, fleet, open_store, tell_traffic};
use crate::load::{Project, Scope};
use crate::view::plan::{PlanView, render};
use crate::view::terminal::data;
use crate::view::words::typed;
use holdfast_plan::change::Plan;
use holdfast_plan::content::Blobs;
use holdfast_plan::planner::Mode;
use std::collections::BTreeMap;
use std::path::Path;

/// Runs the command.
pub async fn run(global: &Global, args: &ApplyArgs) -> CliResult<i32> {
    if args.check {
        return Err(CliError::hinted(
            "`apply` changes hosts, and has no dry run",
            "`holdfast plan` shows what would change, and writes nothing on any host",
        ));
    }
    let project = Project::load(
        global,
        if args.plan.is_some() {
            Scope::Inventory
        } else {
            Scope::All
        },
    )?;
    let store = open_store(&project).await?;
    let fleet = fleet(&project, global);
    let options = carry_out::Options {
        yes: args.yes,
        max_failures: args.max_failures,
        json: global.json,
        push_probes: true,
    };
    let view = PlanView {
        diff: !args.no_diff,
        every: args.no_fold,
        ..PlanView::default()
    };
    let code = if let Some(file) = &args.plan {
        let (mut plan, blobs) = read_plan(&project, file)?;
        plan.hosts = project.limited(plan.hosts, |host| &host.host)?;
        if plan.hosts.is_empty() {
            return Err(CliError::hinted(
                format!("{} has nothing for the hosts of -l", file.display()),
                "leave -l out, or make a plan for them: holdfast plan -l PATTERN -o FILE",
            ));
        }
        let hosts: Vec<_> = plan.hosts.iter().map(|host| host.host.clone()).collect();
        if let Some(gone) = hosts
            .iter()
            .find(|host| project.inventory.host(host.as_str()).is_none())
        {
            return Err(CliError::hinted(
                format!("the plan is for host `{gone}`, which is not in the inventory"),
                "make the plan anew: holdfast plan -o FILE",
            ));
        }
        let planned = Planned {
            plan,
            unobserved: Vec::new(),
            known: BTreeMap::new(),
            blobs,
            forks: None,
        };
        if !global.json {
            data(&render(&planned.plan, view));
        }
        carry_out::run(&store, &fleet, project.targets(&hosts)?, planned, options).await?
    } else {
        let hosts = project.select(None)?;
        let desired = project.desired(&hosts)?;
        let wanted = Wanted {
            targets: project.targets(&hosts)?,
            desired: desired.hosts,
            blobs: desired.blobs,
            mode: Mode::Converge,
            scope: planning::Scope::Project,
            unasked: Vec::new(),
        };
        carry_out::plan_and_run(&store, &fleet, &wanted, view, options).await?
    };
    tell_traffic(global, &fleet, None);
    Ok(code)
}

/// Reads a saved plan. Who names hosts instead is told how to.
fn read_plan(project: &Project, file: &Path) -> CliResult<(Plan, Blobs)> {
    let name = file.to_string_lossy();
    if !file.exists() && project.select(Some(&name)).is_ok() {
        return Err(CliError::hinted(
            format!("there is no saved plan `{name}`, but there are such hosts"),
            format!("to change only them: holdfast apply -l {}", typed(&name)),
        ));
    }
    SavedPlan::read(file)
}
