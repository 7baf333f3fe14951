//! What is allowed and probably not meant: warnings, never errors.

use crate::blueprint::text::{LineEnds, ShText};
use crate::blueprint::{Blueprint, Declared, Files};
use holdfast_inventory::diagnostic::{Location, Problem, Problems, SourceFile};

/// Looks through blueprints.
pub fn lint(blueprints: &[Blueprint], files: &Files) -> Problems {
    let mut warnings = Problems::new();
    for declared in blueprints.iter().flat_map(|blueprint| &blueprint.resources) {
        for sh in declared.sh_texts() {
            braces_in_sh(declared, sh, files, &mut warnings);
        }
        env_without_reader(declared, &mut warnings);
        crlf_without_sh(declared, &mut warnings);
        percent_in_cron(declared, &mut warnings);
    }
    warnings
}

/// sh text is never templated, so `{{` in it arrives on the host as it is.
fn braces_in_sh(declared: &Declared, sh: &ShText, files: &Files, warnings: &mut Problems) {
    let at = match sh {
        ShText::Inline { text, at } => {
            if !text.contains("{{") {
                return;
            }
            let written = at.file.text.get(at.span.clone()).unwrap_or("");
            match written.find("{{") {
                Some(offset) => Location::new(&at.file, at.span.start + offset..at.span.start + offset + 2),
                None => at.clone(),
            }
        }
        ShText::File(file) => {
            let Some(Ok(bytes)) = files.get(&file.path) else {
                return;
            };
            let Ok(text) = std::str::from_utf8(bytes) else {
                return;
            };
            let Some(offset) = text.find("{{") else {
                return;
            };
            Location::new(&SourceFile::new(&file.path, text), offset..offset + 2)
        }
    };
    warnings.push(
        Problem::at(
            at,
            format!("`{{{{` in the sh of {}: sh text is never templated", declared.address),
        )
        .help("pass the value in: env = { SITE = \"{{site}}\" }, and use \"$SITE\""),
    );
}

/// Only scripts and `ready` read variables.
fn env_without_reader(declared: &Declared, warnings: &mut Problems) {
    if declared.env.is_empty() || !declared.sh_texts().is_empty() {
        return;
    }
    let (_, first) = &declared.env[0];
    warnings.push(
        Problem::at(
            first.at.clone(),
            format!("`env` of {} is read by nothing", declared.address),
        )
        .help("only scripts and `ready` checks read it"),
    );
}

/// Only the user's own sh has line ends that matter here; a file is what its content says.
fn crlf_without_sh(declared: &Declared, warnings: &mut Problems) {
    if declared.line_ends == LineEnds::StripCr && declared.sh_texts().is_empty() {
        warnings.push(
            Problem::at(
                declared.at.clone(),
                format!("`crlf` of {} changes nothing", declared.address),
            )
            .help("it is for the sh of scripts and of `ready` checks"),
        );
    }
}

/// cron turns an unescaped `%` into a line break, and what follows into the command's input.
fn percent_in_cron(declared: &Declared, warnings: &mut Problems) {
    let Some(command) = declared.spec.cron_command() else {
        return;
    };
    let text = command.template.text();
    let bare = text
        .match_indices('%')
        .any(|(offset, _)| !text[..offset].ends_with('\\'));
    if bare {
        warnings.push(
            Problem::at(
                command.at.clone(),
                format!("a bare `%` in the command of {}", declared.address),
            )
            .help("cron turns it into a line break; write `\\%`"),
        );
    }
}
