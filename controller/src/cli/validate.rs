//! `holdfast validate`: checks everything offline.

use crate::cli::args::Global;
use crate::cli::error::CliResult;
use crate::load::{Project, Scope};
use crate::view::terminal::{data_line, note};
use crate::view::words::counted;

/// Runs the command.
pub fn run(global: &Global) -> CliResult<i32> {
    let project = Project::load(global, Scope::All)?;
    let hosts = project.all_hosts()?;
    project.targets(&hosts)?;
    let desired = project.desired(&hosts)?;
    for warning in &desired.warnings.0 {
        note(&format!("warning: {warning}"));
    }
    let resources: usize = desired.hosts.values().map(Vec::len).sum();
    if global.json {
        let warnings: Vec<String> = desired.warnings.0.iter().map(ToString::to_string).collect();
        data_line(
            &serde_json::json!({
                "schema": 1, "hosts": hosts.len(), "blueprints": project.blueprints.len(),
                "resources": resources, "warnings": warnings,
            })
            .to_string(),
        );
    } else {
        data_line(&format!(
            "Valid: {}, {}, {} in all",
            counted(hosts.len(), "host"),
            counted(project.blueprints.len(), "blueprint"),
            counted(resources, "resource"),
        ));
    }
    Ok(0)
}
