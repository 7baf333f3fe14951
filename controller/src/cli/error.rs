//! The one error of the command line: what failed, the chain of causes, and what to do. Printed once, at the edge.

use crate::view::terminal::{BOLD, RED, note, paint};
use holdfast_inventory::diagnostic::Problems;
use std::error::Error;
use std::fmt::Display;

/// Why the controller itself could not go on. A host that fails is never one.
#[derive(Debug)]
pub enum CliError {
    /// What the user wrote is wrong.
    Problems(Problems),
    /// Anything else.
    Failed {
        /// What failed, with its causes.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// What commands give back.
pub type CliResult<T> = Result<T, CliError>;

impl CliError {
    /// States a failure.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            hint: None,
        }
    }

    /// States a failure with what to do.
    pub fn hinted(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// Wraps an error and its causes: "failed to DOING: cause: cause".
    pub fn doing(what: impl Display, error: &dyn Error) -> Self {
        Self::new(format!("failed to {what}: {}", chain(error)))
    }

    /// Shows it on stderr.
    pub fn print(&self) {
        match self {
            Self::Problems(problems) => {
                let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
                note(crate::view::problems::render(problems, color).trim_end());
            }
            Self::Failed { message, hint } => {
                note(&format!("{} {message}", paint(RED.bold(), "error:")));
                if let Some(hint) = hint {
                    note(&format!("{} {hint}", paint(BOLD, "hint:")));
                }
            }
        }
    }
}

impl From<Problems> for CliError {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems)
    }
}

/// Joins an error with its causes.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
