//! `holdfast facts`: what hosts say of themselves.

use crate::cli::args::{Global, PatternArgs};
use crate::cli::error::CliResult;
use crate::cli::{fleet, open_store, planning, store_error, tell_traffic};
use crate::load::{Project, Scope};
use crate::observe::observe;
use crate::view::fold::fold;
use crate::view::sanitize::Untrusted;
use crate::view::terminal::{BOLD, data, data_line, paint};
use holdfast_plan::planner::Mode;
use std::collections::BTreeMap;

/// Runs the command.
pub async fn run(global: &Global, args: &PatternArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let hosts = project.select(args.pattern.as_deref())?;
    let store = open_store(&project).await?;
    let fleet = fleet(&project, global);
    let observed = observe(
        &store,
        &fleet,
        project.targets(&hosts)?,
        &BTreeMap::new(),
        Mode::Converge,
    )
    .await
    .map_err(|error| store_error(&error))?;
    let mut known = Vec::new();
    let mut unobserved = Vec::new();
    for (host, result) in observed {
        match result {
            Ok(found) => known.push((host, found.observation.facts)),
            Err(outcome) => unobserved.push((host, outcome)),
        }
    }
    if global.json {
        let hosts: BTreeMap<_, _> = known.iter().map(|(host, facts)| (host.as_str(), facts)).collect();
        let failed: BTreeMap<_, _> = unobserved
            .iter()
            .map(|(host, outcome)| (host.as_str(), outcome))
            .collect();
        data_line(&serde_json::json!({ "schema": 1, "facts": hosts, "unobserved": failed }).to_string());
    } else {
        let texts = known.iter().map(|(host, facts)| {
            let lines = facts
                .0
                .iter()
                .map(|(key, value)| format!("  {:<18} {}\n", Untrusted(key), Untrusted(value)));
            (host.clone(), lines.collect::<String>())
        });
        for block in fold(texts) {
            data(&format!("{}\n{}", paint(BOLD, block.title()), block.text));
        }
        planning::tell_unobserved(&unobserved);
    }
    tell_traffic(global, &fleet, None);
    Ok(if unobserved.is_empty() { 0 } else { 4 })
}
