//! A value as written: a template, compiled once, that knows its place and what a filled-in value must look like.

use super::check::{Check, Complaint};
use crate::render::{Fault, Template};
use holdfast_inventory::diagnostic::{Location, Problem, SourceFile};
use std::path::PathBuf;
use std::sync::Arc;

/// A value that may hold a template.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) template: Template,
    pub(crate) at: Location,
    /// Names it in messages: "`mode` of file./etc/motd".
    pub(crate) what: Arc<str>,
    pub(crate) check: Check,
}

/// A file that a blueprint names: a template, a source, or a script.
#[derive(Debug, Clone)]
pub(crate) struct FileRef {
    /// Joined to the folder of the blueprint.
    pub(crate) path: PathBuf,
    pub(crate) at: Location,
    /// Names it in messages.
    pub(crate) what: Arc<str>,
}

/// What becomes of lines of sh that end with CR LF, as editors on other systems write them: sh would take the CR for
/// a part of the last word, and run all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LineEnds {
    /// They are a problem.
    #[default]
    RefuseCr,
    /// The CR goes.
    StripCr,
}

/// The user's own sh: never templated.
#[derive(Debug, Clone)]
pub(crate) enum ShText {
    /// In the blueprint.
    Inline {
        /// The text.
        text: Arc<str>,
        /// Where it stands.
        at: Location,
    },
    /// In a file of its own.
    File(FileRef),
}

impl Text {
    /// Makes the problem of a fault in the template.
    pub(crate) fn fault(&self, fault: Fault) -> Problem {
        let problem = Problem::at(
            self.at.within(self.template.text(), &fault.span),
            format!("{} in {}", fault.message, self.what),
        );
        match fault.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }

    /// Makes the problem of a value that does not pass the check.
    pub(crate) fn complaint(&self, complaint: &Complaint) -> Problem {
        Problem::at(self.at.clone(), format!("{} {}", self.what, complaint.message)).help(complaint.help)
    }
}

/// Makes the problem of a fault in a template file.
pub(crate) fn fault_in_file(file: &Arc<SourceFile>, fault: Fault) -> Problem {
    let problem = Problem::at(Location::new(file, fault.span), fault.message);
    match fault.help {
        Some(help) => problem.help(help),
        None => problem,
    }
}
