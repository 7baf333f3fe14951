//! `holdfast machines`: phase, freshness and size of the ledger of every machine, orphans included; or all that the
//! ledger of one has.

use crate::cli::args::{Global, MachinesArgs};
use crate::cli::error::{CliError, CliResult};
use crate::cli::{open_store, store_error};
use crate::load::{Project, Scope};
use crate::now;
use crate::view::machine as view;
use crate::view::sanitize::Untrusted;
use crate::view::terminal::{data, data_line};
use crate::view::time::ago;
use comfy_table::{Table, presets};
use std::collections::BTreeSet;

/// Runs the command.
pub async fn run(global: &Global, args: &MachinesArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let store = open_store(&project).await?;
    let doing = |error| store_error(&error);
    let machines = store.machines().await.map_err(doing)?;
    let mut machines = project.limited(machines, |machine| &machine.host)?;
    if let Some(host) = &args.host {
        machines.retain(|machine| machine.host.as_str() == host);
        if machines.is_empty() {
            return Err(CliError::hinted(
                format!("no machine is known behind a host named `{host}`"),
                "`holdfast machines` lists them; the first `holdfast apply` makes a machine known",
            ));
        }
    }
    let now = now();
    let mut rows = Vec::new();
    for machine in &machines {
        let ledger = store.ledger(&machine.machine).await.map_err(doing)?;
        let orphaned = project.inventory.host(machine.host.as_str()).is_none() || !machine.bound;
        let phases: BTreeSet<String> = ledger
            .entries
            .values()
            .map(|entry| entry.phase.word().to_owned())
            .collect();
        let phase = if machine.held.is_some() {
            "held".to_owned()
        } else if orphaned {
            "orphaned".to_owned()
        } else if ledger.entries.is_empty() {
            "new".to_owned()
        } else if phases.iter().all(|phase| phase == "ready") && ledger.owed.is_empty() {
            "converged".to_owned()
        } else {
            phases
                .into_iter()
                .filter(|phase| phase != "ready")
                .collect::<Vec<_>>()
                .join(", ")
        };
        rows.push((machine, ledger, phase));
    }
    if global.json {
        let list: Vec<_> = rows
            .iter()
            .map(|(machine, ledger, phase)| {
                serde_json::json!({
                    "machine": machine.machine, "host": machine.host, "phase": phase, "held": machine.held,
                    "first_seen": machine.first_seen, "last_seen": machine.last_seen,
                    "ledger": view::document(ledger), "owed": ledger.owed,
                })
            })
            .collect();
        data_line(&serde_json::json!({ "schema": 1, "machines": list }).to_string());
        return Ok(0);
    }
    if rows.is_empty() {
        data_line(match global.limit {
            Some(_) => "No machine is known behind these hosts; the first `holdfast apply` makes them known",
            None => "No machine is known yet; the first `holdfast apply` makes them known",
        });
        return Ok(0);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["HOST", "PHASE", "RESOURCES", "OWED", "LAST SEEN", "MACHINE"]);
    for (machine, ledger, phase) in &rows {
        table.add_row([
            machine.host.to_string(),
            phase.clone(),
            ledger.entries.len().to_string(),
            ledger.owed.len().to_string(),
            ago(machine.last_seen, now),
            Untrusted(machine.machine.as_str()).to_string(),
        ]);
    }
    data(&format!("{table}\n"));
    if args.host.is_some() {
        for (_, ledger, _) in &rows {
            data(&format!("\n{}", view::resources(ledger, now)));
        }
    }
    Ok(0)
}
