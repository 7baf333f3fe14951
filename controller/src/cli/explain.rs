//! `plan --explain ADDRESS`: which rule decided, what was compared, what is waited for, where each value comes from.

use crate::cli::error::{CliError, CliResult};
use crate::cli::planning::{self, Planned, Wanted};
use crate::cli::store_error;
use crate::load::Project;
use crate::redact;
use crate::store::Store;
use crate::view::explain::{Explained, document, render};
use crate::view::fold;
use crate::view::sanitize::one_line;
use crate::view::terminal::{data, data_line, note};
use holdfast_inventory::HostName;
use holdfast_inventory::diagnostic::suggest;
use holdfast_plan::address::Address;
use holdfast_plan::explain::{ExplainInput, explain};
use holdfast_plan::observation::Attributes;
use std::collections::BTreeSet;

/// Reads the addresses, and refuses those that no blueprint and no ledger of the hosts has, before any host is asked.
pub async fn addresses(store: &Store, wanted: &Wanted, texts: &[String]) -> CliResult<Vec<Address>> {
    let mut known: BTreeSet<Address> = wanted
        .desired
        .values()
        .flatten()
        .map(|one| one.address.clone())
        .collect();
    let mut with_ledgers = false;
    let mut addresses = Vec::new();
    for text in texts {
        let address: Address = text.parse().map_err(|error| {
            CliError::hinted(
                format!("--explain: {error}"),
                "an address is type.name, as a plan shows it",
            )
        })?;
        if !known.contains(&address) && !with_ledgers {
            with_ledgers = true;
            for target in &wanted.targets {
                if let Some(machine) = store
                    .machine_of(&target.name)
                    .await
                    .map_err(|error| store_error(&error))?
                {
                    let ledger = store.ledger(&machine).await.map_err(|error| store_error(&error))?;
                    known.extend(wanted.scope.of(&ledger).entries.into_keys());
                }
            }
        }
        if !known.contains(&address) {
            let names: Vec<String> = known.iter().map(ToString::to_string).collect();
            let hint = match suggest(text, names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`holdfast plan --all` lists what blueprints and ledgers have".to_owned(),
            };
            return Err(CliError::hinted(
                format!(
                    "neither a blueprint nor a ledger of these hosts has `{}`",
                    one_line(text)
                ),
                hint,
            ));
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Explains what a plan does with resources on every host that could be observed.
pub fn show(project: &Project, planned: &Planned, wanted: &Wanted, addresses: &[Address], every: bool, json: bool) {
    let mut explained = Vec::new();
    let mut without: Vec<(HostName, String)> = Vec::new();
    for plan in &planned.plan.hosts {
        let Some(known) = planned.known.get(&plan.host) else {
            continue;
        };
        let ledger = wanted.scope.of(&known.ledger);
        for address in addresses {
            let none = Attributes::default();
            let observed = known.observation.resources.get(address);
            let input = ExplainInput {
                plan,
                desired: wanted.desired.get(&plan.host).map_or(&[], Vec::as_slice),
                ledger: &ledger,
                observed: observed.map_or(&none, |found| &found.attributes),
            };
            match explain(&input, address) {
                Some(explanation) => explained.push(Explained {
                    host: plan.host.clone(),
                    sources: project.sources(&plan.host, address),
                    explanation,
                }),
                None => without.push((plan.host.clone(), one_line(&address.to_string()))),
            }
        }
    }
    if json {
        let mut document = serde_json::json!({
            "schema": 1, "explained": explained.iter().map(document).collect::<Vec<_>>(),
            "unobserved": planning::unobserved(planned),
        });
        redact::document(&mut document);
        data_line(&document.to_string());
        return;
    }
    data(&render(&explained, every));
    for block in fold::fold(without) {
        note(&format!(
            "{}: neither blueprint nor ledger has {} there",
            block.title(),
            block.text
        ));
    }
    planning::tell_unobserved(&planned.unobserved);
}
