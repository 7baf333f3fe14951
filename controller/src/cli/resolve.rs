//! `holdfast resolve`: a person decides about a stuck resource or a held machine.

use crate::cli::args::{Global, ResolveArgs};
use crate::cli::error::{CliError, CliResult};
use crate::cli::{open_store, store_error};
use crate::load::{Project, Scope, login_name};
use crate::now;
use crate::view::terminal::data_line;
use crate::view::words::counted;
use holdfast_inventory::HostName;
use holdfast_plan::address::Address;
use holdfast_plan::event::{Event, HoldReason, Resolution};

/// Runs the command.
pub async fn run(global: &Global, args: &ResolveArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let host = HostName::from(args.host.as_str());
    if let Some(limit) = project.limit_hosts()?.filter(|limit| !limit.contains(&host)) {
        return Err(CliError::hinted(
            format!("`{host}` is not among the {} of -l", counted(limit.len(), "host")),
            "leave -l out: `resolve` names its one host",
        ));
    }
    let store = open_store(&project).await?;
    let doing = |error| store_error(&error);
    let known = store.host(&host).await.map_err(doing)?;
    let Some((machine, held)) = known.and_then(|known| Some((known.machine?, known.held))) else {
        return Err(CliError::hinted(
            format!("nothing is known of a machine behind `{host}`"),
            "`holdfast machines` lists those that are",
        ));
    };
    let (address, how) = match args.what.as_slice() {
        [word] if word == "accept" => {
            let how = match held {
                // The id differs: what we put there is gone with the old system.
                Some(HoldReason::MachineDiffers { .. }) => Resolution::NewMachine,
                Some(_) => Resolution::Accept,
                None => {
                    return Err(CliError::hinted(
                        format!("nothing holds the machine behind `{host}`: there is nothing to accept"),
                        format!("`holdfast plan {host}` shows what stands in the way, if anything does"),
                    ));
                }
            };
            (None, how)
        }
        [address, word] => {
            let address: Address = address
                .parse()
                .map_err(|error| CliError::doing("read the address", &error))?;
            let ledger = store.ledger(&machine).await.map_err(doing)?;
            if !ledger.entries.contains_key(&address) {
                return Err(CliError::hinted(
                    format!("the ledger of {host} has no {address}"),
                    format!("`holdfast machines {host}` lists what it has"),
                ));
            }
            let how = match word.as_str() {
                "retry" => Resolution::Retry,
                "accept" => Resolution::Accept,
                "taint" => Resolution::Taint,
                "skip" => Resolution::Skip {
                    reason: args.because.clone().ok_or_else(|| {
                        CliError::hinted("skip needs a reason", "say why: --because 'removed by hand'")
                    })?,
                },
                other => {
                    return Err(CliError::hinted(
                        format!("`{other}` is no decision"),
                        "use retry, skip, accept or taint",
                    ));
                }
            };
            (Some(address), how)
        }
        _ => return Err(CliError::hinted("that is no decision", "see `holdfast resolve --help`")),
    };
    let said = address
        .as_ref()
        .map_or_else(|| host.to_string(), |address| format!("{host} {address}"));
    let event = Event::Resolved {
        host: host.clone(),
        machine,
        address,
        how,
        by: login_name().unwrap_or_else(|| "unknown".to_owned()),
    };
    store.append(now(), vec![event]).await.map_err(doing)?;
    data_line(&format!("{said}: recorded; the next plan goes by it"));
    Ok(0)
}
