//! What is wrong in what the user wrote, and where: the one type in which every reader reports.
//!
//! A reader collects every problem it can find into [`Problems`] and goes on. Rendering (excerpt, colours) is
//! the shell's duty, not this module's.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A text file as it was read, kept so that a problem can show the line it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as the user should see it.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

impl SourceFile {
    /// Wraps a text that was read from `path`.
    pub fn new(path: impl AsRef<Path>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            path: path.as_ref().to_path_buf(),
            text: text.into(),
        })
    }

    /// Finds the line and column (both from 1; the column counts characters) of a byte offset.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

/// A place in a source file: byte range into its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The bytes meant.
    pub span: Range<usize>,
}

impl Location {
    /// Points at `span` of `file`.
    pub fn new(file: &Arc<SourceFile>, span: Range<usize>) -> Self {
        Self {
            file: Arc::clone(file),
            span,
        }
    }

    /// Finds bytes of a value that is written here: the value's text may stand in quotes. The whole place if it is
    /// written with escapes.
    #[must_use]
    pub fn within(&self, text: &str, span: &Range<usize>) -> Self {
        let written = self.file.text.get(self.span.clone()).unwrap_or("");
        match written.find(text) {
            Some(offset) => {
                let start = self.span.start + offset;
                Self::new(&self.file, start + span.start..start + span.end)
            }
            None => self.clone(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.file.line_column(self.span.start);
        write!(f, "{}:{line}:{column}", self.file.path.display())
    }
}

/// A value together with the place it was written at, for problems that are found later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The place; `None` for a value that stands in no file (a flag, a default).
    pub at: Option<Location>,
}

impl<T> Located<T> {
    /// Joins a value and its place.
    pub fn new(value: T, at: Location) -> Self {
        Self { value, at: Some(at) }
    }

    /// Wraps a value that stands in no file.
    pub fn nowhere(value: T) -> Self {
        Self { value, at: None }
    }
}

/// One thing that is wrong: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: lowercase, no full stop.
    pub message: String,
    /// Where; `None` only for what has no place in a file (a flag, a missing file named by a flag).
    pub at: Option<Location>,
    /// A few words beside the marked excerpt.
    pub label: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// States a problem at a place.
    pub fn at(location: Location, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            at: Some(location),
            label: None,
            help: None,
        }
    }

    /// States a problem that has no place in a file.
    pub fn anywhere(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            at: None,
            label: None,
            help: None,
        }
    }

    /// Adds a few words beside the excerpt.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(label) = &self.label {
            write!(f, " ({label})")?;
        }
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

/// All problems of a reading, in the order found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Starts with none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds all of another reading.
    pub fn extend(&mut self, other: Problems) {
        self.0.extend(other.0);
    }

    /// Tells whether the reading was clean.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Turns a value into a result: the value if clean, else the problems.
    pub fn into_result<T>(self, value: T) -> Result<T, Problems> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Finds the candidate that `word` was probably meant to be.
///
/// Borrowed from what compilers do: the nearest by Damerau-Levenshtein distance, if at most a third of the
/// letters differ.
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (word.chars().count().max(candidate.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_shows_line_and_column_in_characters() {
        let file = SourceFile::new("a.toml", "é = 1\nxé = 2\n");
        assert_eq!(Location::new(&file, 0..1).to_string(), "a.toml:1:1");
        let offset = file.text.find("= 2").expect("it is there");
        assert_eq!(Location::new(&file, offset..offset + 1).to_string(), "a.toml:2:4");
    }

    #[test]
    fn a_typo_is_suggested_and_a_stranger_is_not() {
        assert_eq!(suggest("adress", ["port", "address"]), Some("address"));
        assert_eq!(suggest("colour", ["port", "address"]), None);
    }
}
