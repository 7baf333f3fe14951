//! `holdfast store`: back up, verify or mend the record.

use crate::cli::args::{Global, StoreCommand};
use crate::cli::error::{CliError, CliResult};
use crate::cli::{open_store, store_error};
use crate::load::{Project, Scope};
use crate::store::Verified;
use crate::view::terminal::data_line;
use crate::view::words::counted;

/// Runs the command.
pub async fn run(global: &Global, command: &StoreCommand) -> CliResult<i32> {
    let project = Project::load(global, Scope::Store)?;
    let store = open_store(&project).await?;
    let doing = |error| store_error(&error);
    match command {
        StoreCommand::Backup { file } => {
            store.backup(file).await.map_err(doing)?;
            data_line(&format!("backed up to {}", file.display()));
            Ok(0)
        }
        StoreCommand::Verify => {
            let verified = store.verify().await.map_err(doing)?;
            let path = store.path().display();
            if let Some(wrong) = wrong(&verified) {
                let hint = if verified.lost.is_empty() {
                    "`holdfast store rebuild` makes the tables anew from the events, which are whole"
                } else {
                    "put a backup in its place: move it and its -wal and -shm files away first, and keep them"
                };
                return Err(CliError::hinted(format!("the store {path} is damaged: {wrong}"), hint));
            }
            data_line(&format!(
                "{path}: {}, {} and {}: all as they were written",
                counted(count(verified.events), "event"),
                counted(count(verified.contents), "content"),
                counted(count(verified.plans), "plan"),
            ));
            Ok(0)
        }
        StoreCommand::Rebuild => {
            let verified = store.verify().await.map_err(doing)?;
            if let Some(lost) = verified.lost.first() {
                return Err(CliError::hinted(
                    format!(
                        "the store {} is damaged where nothing can be made anew: {lost}",
                        store.path().display()
                    ),
                    "put a backup in its place: move it and its -wal and -shm files away first, and keep them",
                ));
            }
            store.rebuild().await.map_err(doing)?;
            data_line(&format!("made anew from {}", counted(count(verified.events), "event")));
            Ok(0)
        }
    }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Says what is wrong with a store, if anything is.
fn wrong(verified: &Verified) -> Option<String> {
    let tables = verified.differing.iter().map(|(table, rows)| {
        format!(
            "{} of table {table} {} not what the events say",
            counted(count(*rows), "row"),
            if *rows == 1 { "is" } else { "are" }
        )
    });
    let all: Vec<String> = verified.lost.iter().cloned().chain(tables).collect();
    (!all.is_empty()).then(|| all.join("; "))
}
