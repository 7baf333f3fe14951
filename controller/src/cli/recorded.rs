//! `holdfast drift --recorded`: what agents saw, from the store alone.

use crate::cli::args::Global;
use crate::cli::error::CliResult;
use crate::cli::store_error;
use crate::store::Store;
use crate::view::sanitize::one_line;
use crate::view::terminal::{BOLD, data, data_line, paint};
use crate::view::time::moment;
use holdfast_inventory::HostName;
use holdfast_plan::resource::Comparison;

/// Shows, per host, the resources that the latest report of its agent says differ from the ledger.
pub async fn run(global: &Global, store: &Store, hosts: &[HostName], detailed: bool) -> CliResult<i32> {
    let mut found = Vec::new();
    for host in hosts {
        let reports = store.reports(host).await.map_err(|error| store_error(&error))?;
        // Only the newest that says something of resources counts: what it finds in order was mended. Reports of
        // probes that failed say nothing.
        let newest = reports.into_iter().rev().find(|report| !report.resources.is_empty());
        if let Some(report) = newest {
            let ledger = store
                .ledger(&report.machine)
                .await
                .map_err(|error| store_error(&error))?;
            for (address, attributes) in &report.resources {
                let Some(entry) = ledger.entries.get(address) else {
                    continue;
                };
                let differences = match entry.desired.resource.lifecycle().compare(attributes) {
                    Comparison::Differs(differences) | Comparison::Replace(differences) => differences,
                    Comparison::Absent => Vec::new(),
                    Comparison::Same | Comparison::CannotTell(_) | Comparison::Refused(_) => continue,
                };
                found.push((host.clone(), report.clone(), address.clone(), differences));
            }
        }
    }
    if global.json {
        let rows: Vec<_> = found
            .iter()
            .map(|(host, report, address, differences)| {
                serde_json::json!({
                    "host": host, "address": address, "differences": differences, "spool": report.spool,
                    "seq": report.number, "observed_at": report.observed, "recorded_at": report.recorded,
                })
            })
            .collect();
        data_line(&serde_json::json!({ "schema": 1, "drift": rows }).to_string());
    } else {
        for (host, report, address, differences) in &found {
            data(&format!(
                "{} {}  seen by the agent at {}\n",
                paint(BOLD, host),
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
