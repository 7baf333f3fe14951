//! `holdfast unlock`: breaks the lease of a controller that is gone for good.

use crate::cli::args::{Global, UnlockArgs};
use crate::cli::error::{CliError, CliResult};
use crate::cli::{open_store, store_error};
use crate::load::{Project, Scope, login_name};
use crate::now;
use crate::view::terminal::{ask, can_ask, data_line};
use holdfast_plan::event::Event;

/// Runs the command.
pub async fn run(global: &Global, args: &UnlockArgs) -> CliResult<i32> {
    let project = Project::load(global, Scope::Inventory)?;
    let hosts = project.select(Some(&args.pattern))?;
    let store = open_store(&project).await?;
    let doing = |error| store_error(&error);
    let held: Vec<_> = store
        .leases(now())
        .await
        .map_err(doing)?
        .into_iter()
        .filter(|lease| hosts.contains(&lease.host))
        .collect();
    if held.is_empty() {
        data_line("Nothing is locked");
        return Ok(0);
    }
    for lease in &held {
        data_line(&format!("{}: held by {}", lease.host, lease.holder));
    }
    if !args.yes {
        if !can_ask() {
            return Err(CliError::hinted(
                "there is no terminal to ask on; nothing was unlocked",
                "use -y",
            ));
        }
        let _heeding = global.cancel.heed();
        let answer = tokio::select! {
            biased;
            () = global.cancel.stopped() => {
                global.cancel.cut_short();
                return Err(CliError::new("interrupted; nothing was unlocked"));
            }
            answer = tokio::task::spawn_blocking(|| ask("Break these leases? A controller that is still at work is cut off.")) => {
                answer.map_err(|error| CliError::doing("ask", &error))?
            }
        };
        if !answer.map_err(|error| CliError::doing("read the answer", &error))? {
            return Err(CliError::new("not confirmed; nothing was unlocked"));
        }
    }
    for lease in held {
        if let Some(holder) = store.break_lease(&lease.host).await.map_err(doing)? {
            let event = Event::LeaseBroken {
                host: lease.host.clone(),
                holder: holder.to_string(),
                epoch: lease.epoch,
                by: login_name().unwrap_or_else(|| "unknown".to_owned()),
            };
            store.append(now(), vec![event]).await.map_err(doing)?;
            data_line(&format!("{}: unlocked", lease.host));
        }
    }
    Ok(0)
}
