//! `holdfast drift --recorded`: what agents saw, from the store alone.

use crate::cli::args::Global;
use crate::cli::error::CliResult;
use crate::cli::store_error;
use crate::store::{AgentReport, Store};
use crate::view::sanitize::one_line;
use crate::view::terminal::{BOLD, data, data_line, paint};
use crate::view::time::moment;
use holdfast_inventory::HostName;
use holdfast_plan::address::Address;
use holdfast_plan::ids::MachineId;
use holdfast_plan::ledger::LedgerEntry;
use holdfast_plan::lifecycle::Phase;
use holdfast_plan::resource::{Comparison, Difference};

/// One resource that an agent saw to differ.
struct Found {
    report: AgentReport,
    address: Address,
    /// Empty: it is gone from the host.
    differences: Vec<Difference>,
}

/// Shows, per host, the resources that drifted by the ledger and an agent's report tells how. Whether a later look
/// saw them in order is in the ledger; the report only lends its words.
pub async fn run(global: &Global, store: &Store, hosts: &[HostName], detailed: bool) -> CliResult<i32> {
    let mut found = Vec::new();
    for host in hosts {
        let Some(machine) = store.machine_of(host).await.map_err(|error| store_error(&error))? else {
            continue;
        };
        let reports = store.reports(host).await.map_err(|error| store_error(&error))?;
        let ledger = store.ledger(&machine).await.map_err(|error| store_error(&error))?;
        let drifted = ledger.entries.values().filter(|entry| entry.phase == Phase::Drifted);
        found.extend(drifted.filter_map(|entry| latest(entry, &machine, &reports)));
    }
    if global.json {
        let rows: Vec<_> = found
            .iter()
            .map(
                |Found {
                     report,
                     address,
                     differences,
                 }| {
                    serde_json::json!({
                        "host": report.host, "address": address, "differences": differences, "spool": report.spool,
                        "seq": report.number, "observed_at": report.observed, "recorded_at": report.recorded,
                    })
                },
            )
            .collect();
        data_line(&serde_json::json!({ "schema": 1, "drift": rows }).to_string());
    } else {
        for Found {
            report,
            address,
            differences,
        } in &found
        {
            data(&format!(
                "{} {}  seen by the agent at {}\n",
                paint(BOLD, &report.host),
                one_line(&address.to_string()),
                moment(report.observed)
            ));
            if differences.is_empty() {
                data("    gone from the host\n");
            }
            for difference in differences {
                data(&format!(
                    "    {}: {} -> {}\n",
                    difference.attribute,
                    one_line(&difference.desired),
                    one_line(&difference.observed)
                ));
            }
        }
        let count = found.len();
        data_line(&if count == 0 {
            "No drift is recorded; `holdfast collect` fetches what agents have seen since".to_owned()
        } else {
            format!("{count} recorded; `holdfast drift` asks the hosts how they are now")
        });
    }
    Ok(if detailed && !found.is_empty() { 2 } else { 0 })
}

/// Finds the newest report in which a resource differs.
fn latest(entry: &LedgerEntry, machine: &MachineId, reports: &[AgentReport]) -> Option<Found> {
    let address = &entry.desired.address;
    let mut of_machine = reports.iter().rev().filter(|report| report.machine == *machine);
    of_machine.find_map(|report| {
        let attributes = report.resources.get(address)?;
        let differences = match entry.desired.resource.lifecycle().compare(attributes) {
            Comparison::Differs(differences) | Comparison::Replace(differences) => differences,
            Comparison::Absent | Comparison::Missing(_) | Comparison::NoFolder(_) => Vec::new(),
            Comparison::Same | Comparison::CannotTell(_) | Comparison::Refused(_) => return None,
        };
        Some(Found {
            report: report.clone(),
            address: address.clone(),
            differences,
        })
    })
}
