//! What was typed, as the record keeps it: made anew from what the parser understood, so that every spelling of a flag
//! (`-eK=V`, `-ve K=V`, `--extra-var=K=V`) is one word here, and the values of secret flags never come in.

use super::args::Cli;
use crate::view::words;
use clap::{ArgAction, ArgMatches, Command, CommandFactory};
use std::sync::OnceLock;

/// The flags whose values may be secret. Of `KEY=VALUE` the key is kept.
const SECRET: [&str; 1] = ["extra"];

/// What stands for a value that is left out.
const LEFT_OUT: &str = "...";

static TYPED: OnceLock<String> = OnceLock::new();

/// Keeps what this process was asked, for [`typed`].
pub(super) fn keep(matches: &ArgMatches) {
    let _ = TYPED.set(words(&Cli::command(), matches).join(" "));
}

/// What this process was asked, for the record.
pub(super) fn typed() -> String {
    TYPED.get().cloned().unwrap_or_else(|| "holdfast".to_owned())
}

/// Spells a command line that was understood: the commands' names, then each argument in the order it was typed.
fn words(command: &Command, matches: &ArgMatches) -> Vec<String> {
    let mut words = vec![command.get_name().to_owned()];
    let mut command = command.clone();
    command.build();
    let mut spelled = Vec::new();
    let (mut here, mut at) = (&command, matches);
    loop {
        spell(here, at, &mut spelled);
        let Some((name, below)) = at.subcommand() else { break };
        words.push(name.to_owned());
        let Some(found) = here.find_subcommand(name) else { break };
        // The flags of all commands are told by the innermost one.
        spelled.clear();
        (here, at) = (found, below);
    }
    spelled.sort_by_key(|(place, _)| *place);
    words.extend(spelled.into_iter().flat_map(|(_, words)| words));
    words
}

/// Spells the arguments of one command, each with its place on the line.
fn spell(command: &Command, matches: &ArgMatches, spelled: &mut Vec<(usize, Vec<String>)>) {
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        if matches.value_source(id) != Some(clap::parser::ValueSource::CommandLine) {
            continue;
        }
        let flag = match (argument.get_long(), argument.get_short()) {
            (Some(long), _) => Some(format!("--{long}")),
            (None, Some(short)) => Some(format!("-{short}")),
            (None, None) => None,
        };
        let places = matches.indices_of(id).into_iter().flatten();
        if !argument.get_action().takes_values() {
            let times = match argument.get_action() {
                ArgAction::Count => usize::from(matches.get_count(id)),
                _ => 1,
            };
            // Clap keeps the place of the last one only.
            let place = places.last().unwrap_or_default();
            spelled.extend((0..times).map(|_| (place, flag.iter().cloned().collect())));
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten();
        for (place, value) in places.zip(values) {
            let value = value.to_string_lossy();
            let value = if SECRET.contains(&id) {
                key_alone(&value)
            } else {
                value.into_owned()
            };
            let first = matches.indices_of(id).and_then(|mut places| places.next());
            let last = argument.is_last_set() && first == Some(place);
            let before = flag.clone().or_else(|| last.then(|| "--".to_owned()));
            spelled.push((place, before.into_iter().chain([words::typed(&value)]).collect()));
        }
    }
}

/// Leaves the value of `KEY=VALUE` out; of what has no key, everything.
fn key_alone(text: &str) -> String {
    match text.split_once('=') {
        Some((key, _)) => format!("{key}={LEFT_OUT}"),
        None => LEFT_OUT.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(line: &str) -> String {
        let typed = shlex::split(line).expect("a line that a shell can read");
        let matches = Cli::command().try_get_matches_from(typed).expect("it is understood");
        words(&Cli::command(), &matches).join(" ")
    }

    // REVIEW D2
    #[test]
    fn no_spelling_of_a_secret_variable_comes_into_the_record() {
        for line in [
            "holdfast apply -e TOKEN=hunter2",
            "holdfast apply -eTOKEN=hunter2",
            "holdfast -eTOKEN=hunter2 apply",
            "holdfast apply -ve TOKEN=hunter2",
            "holdfast apply -veTOKEN=hunter2",
            "holdfast apply -e=TOKEN=hunter2",
            "holdfast apply --extra-var TOKEN=hunter2",
            "holdfast apply --extra-var=TOKEN=hunter2",
            "holdfast apply -e hunter2",
            "holdfast agent install web -ybeTOKEN=hunter2",
        ] {
            let text = recorded(line);
            assert!(!text.contains("hunter2"), "{line}: {text}");
        }
        assert_eq!(
            recorded("holdfast apply -ve TOKEN=hunter2 -y"),
            "holdfast apply --verbose --extra-var TOKEN=... --yes"
        );
    }

    #[test]
    fn what_was_typed_can_be_typed_again() {
        for (line, text) in [
            ("holdfast plan", "holdfast plan"),
            (
                "holdfast -C /srv/fleet plan -l web -o x.plan",
                "holdfast plan --directory /srv/fleet --limit web --out x.plan",
            ),
            (
                "holdfast run -f 10 'web:!db' -- 'df -h / | tail -1'",
                "holdfast run --forks 10 'web:!db' -- 'df -h / | tail -1'",
            ),
            ("holdfast run all -- echo a b", "holdfast run all -- echo a b"),
            ("holdfast runs show 3f2a", "holdfast runs show 3f2a"),
            (
                "holdfast resolve web01 file./etc/motd skip --because 'by hand'",
                "holdfast resolve web01 file./etc/motd skip --because 'by hand'",
            ),
            ("holdfast plan -vvv", "holdfast plan --verbose --verbose --verbose"),
        ] {
            assert_eq!(recorded(line), text);
            assert_eq!(recorded(text), text, "typed again it is the same");
        }
    }
}
