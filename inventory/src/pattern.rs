//! Patterns: expressions that select hosts, such as `web:&prod:!web03`, `web[01-20],db*` or `all`.
//!
//! As Ansible has them: `:` or `,` joins, `:&` keeps what is in both, `:!` takes away; whatever the order written,
//! joins come first, then intersections, then exclusions. A pattern without a join starts from all hosts.
//! Parsing needs no inventory; selecting does.

use crate::diagnostic::{Location, Problem, Problems, suggest};
use crate::range::{self, RangeErrorKind};
use crate::{Group, Host, Inventory};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// How many terms a pattern may have: a pasted list of hosts fits, a pasted file does not.
const TERMS_MAX: usize = 65_536;

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    operation: Operation,
    span: Range<usize>,
    words: Vec<Word>,
}

/// In the order of their working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Join,
    Intersect,
    Exclude,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    All,
    Name(String),
    Glob(String),
}

/// One thing that is wrong with a pattern, with the bytes of the pattern's text it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct PatternError {
    /// The bytes meant.
    pub span: Range<usize>,
    /// What is wrong.
    pub kind: PatternErrorKind,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternErrorKind {
    /// The whole text, or what stands between two separators.
    #[error("the pattern names nothing here")]
    Empty,
    /// More than 65536 terms.
    #[error("the pattern has more than {TERMS_MAX} terms")]
    TooManyTerms,
    /// A character that no name has.
    #[error("`{}` can't stand in a pattern", .0.escape_debug())]
    Character(char),
    /// `~web\d+`.
    #[error("regular expressions are not built yet")]
    Regex,
    /// A bracket that can't be read.
    #[error(transparent)]
    Range(RangeErrorKind),
    /// No host and no group has this name.
    #[error("no host or group is named `{name}`")]
    Unknown {
        /// The name, or several names folded.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A glob that fits nothing.
    #[error("no host or group fits `{0}`")]
    FitsNothing(String),
}

impl PatternErrorKind {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            PatternErrorKind::Empty => Some("name a host or a group, or `all`".to_owned()),
            PatternErrorKind::TooManyTerms => None,
            PatternErrorKind::Character('@') => Some("write a group's name without `@`".to_owned()),
            PatternErrorKind::Character(_) => {
                Some("a pattern has names, `*`, `?`, `[1-3]`, `:`, `,`, `:&` and `:!`".to_owned())
            }
            PatternErrorKind::Regex => Some("use a glob such as `web*`".to_owned()),
            PatternErrorKind::Range(kind) => kind.help().map(str::to_owned),
            PatternErrorKind::Unknown {
                suggestion: Some(near), ..
            } => Some(format!("did you mean `{near}`?")),
            PatternErrorKind::Unknown { suggestion: None, .. } | PatternErrorKind::FitsNothing(_) => {
                Some("`holdfast hosts --graph` shows all groups and hosts".to_owned())
            }
        }
    }
}

/// All that is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternErrors {
    /// The pattern as written.
    pub pattern: String,
    /// Never empty.
    pub errors: Vec<PatternError>,
}

impl PatternErrors {
    /// Turns the errors into problems; `at` is the place of the whole pattern: a string in a file, or a source file
    /// made of the flag (`SourceFile::new("--limit", text)`).
    pub fn into_problems(self, at: Option<&Location>) -> Problems {
        let mut problems = Problems::new();
        for error in self.errors {
            let mut problem = match at {
                Some(at) => Problem::at(at.within(&self.pattern, &error.span), error.kind.to_string()),
                None => Problem::anywhere(format!("pattern `{}`: {}", self.pattern.escape_debug(), error.kind)),
            };
            problem.help = error.kind.help();
            problems.push(problem);
        }
        problems
    }
}

impl fmt::Display for PatternErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pattern `{}`: ", self.pattern.escape_debug())?;
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PatternErrors {}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// All that is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, PatternErrors> {
        let mut errors = Vec::new();
        let mut terms = Vec::new();
        for span in split(text) {
            match parse_term(text, &span) {
                Ok(term) => terms.push(term),
                Err(error) => errors.push(error),
            }
            if terms.len() > TERMS_MAX {
                let kind = PatternErrorKind::TooManyTerms;
                errors.push(PatternError { span, kind });
                break;
            }
        }
        if !errors.is_empty() {
            let pattern = text.to_owned();
            return Err(PatternErrors { pattern, errors });
        }
        // A stable sort: joins first, then intersections, then exclusions.
        terms.sort_by_key(|term| term.operation);
        let text = text.to_owned();
        Ok(Self { text, terms })
    }

    /// Makes the pattern that selects every host.
    pub fn all() -> Self {
        Self::parse("all").expect("`all` is a pattern")
    }

    /// Shows the pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Selects hosts, each once, in the order of the inventory. The selection may be empty.
    ///
    /// # Errors
    /// Every name and glob that fits no host and no group.
    pub fn select<'a>(&self, inventory: &'a Inventory) -> Result<Vec<&'a Host>, PatternErrors> {
        let mut errors = Vec::new();
        let has_join = self.terms.first().is_some_and(|term| term.operation == Operation::Join);
        let mut selected = vec![!has_join; inventory.hosts().len()];
        for term in &self.terms {
            let fits = match term.fits(inventory) {
                Ok(fits) => fits,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            for (is_in, fits) in selected.iter_mut().zip(fits) {
                *is_in = match term.operation {
                    Operation::Join => *is_in || fits,
                    Operation::Intersect => *is_in && fits,
                    Operation::Exclude => *is_in && !fits,
                };
            }
        }
        if !errors.is_empty() {
            errors.sort_by_key(|error| error.span.start);
            let pattern = self.text.clone();
            return Err(PatternErrors { pattern, errors });
        }
        let hosts = inventory.hosts().iter().zip(selected);
        Ok(hosts.filter(|(_, is_in)| *is_in).map(|(host, _)| host).collect())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = PatternErrors;

    fn from_str(text: &str) -> Result<Self, PatternErrors> {
        Self::parse(text)
    }
}

/// Splits at `:` and `,` outside brackets, and trims blanks.
fn split(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut is_inside = false;
    let mut push = |start: usize, end: usize| {
        let raw = &text[start..end];
        let begin = start + (raw.len() - raw.trim_start().len());
        let length = raw.trim().len();
        spans.push(begin..begin + length);
    };
    for (index, character) in text.char_indices() {
        match character {
            '[' => is_inside = true,
            ']' => is_inside = false,
            ':' | ',' if !is_inside => {
                push(start, index);
                start = index + 1;
            }
            _ => {}
        }
    }
    push(start, text.len());
    spans
}

fn parse_term(text: &str, span: &Range<usize>) -> Result<Term, PatternError> {
    let whole = &text[span.clone()];
    let (operation, word) = match whole.chars().next() {
        Some('&') => (Operation::Intersect, &whole[1..]),
        Some('!') => (Operation::Exclude, &whole[1..]),
        _ => (Operation::Join, whole),
    };
    let offset = span.end - word.len();
    let error = |span, kind| PatternError { span, kind };
    if word.is_empty() {
        return Err(error(span.clone(), PatternErrorKind::Empty));
    }
    if word.starts_with('~') {
        return Err(error(span.clone(), PatternErrorKind::Regex));
    }
    let is_range = range::is_range(word);
    let names = range::expand(word).map_err(|wrong| {
        let span = offset + wrong.span.start..offset + wrong.span.end;
        error(span, PatternErrorKind::Range(wrong.kind))
    })?;
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '*' | '?' | '[' | ']');
    let stray = word
        .char_indices()
        .find(|(_, c)| !allowed(*c) && (*c != ',' || !is_range));
    if let Some((index, character)) = stray {
        let start = offset + index;
        let span = start..start + character.len_utf8();
        return Err(error(span, PatternErrorKind::Character(character)));
    }
    let words = names
        .into_iter()
        .map(|name| match name.as_str() {
            "all" | "*" => Word::All,
            glob if glob.contains(['*', '?']) => Word::Glob(name),
            _ => Word::Name(name),
        })
        .collect();
    Ok(Term {
        operation,
        span: offset..span.end,
        words,
    })
}

impl Term {
    /// Tells for each host of the inventory whether the term means it.
    fn fits(&self, inventory: &Inventory) -> Result<Vec<bool>, PatternError> {
        let mut fits = vec![false; inventory.hosts().len()];
        let mut unknown = Vec::new();
        for word in &self.words {
            match word {
                Word::All => fits.fill(true),
                Word::Name(name) => {
                    if let Some(index) = inventory.index_of(name) {
                        fits[index] = true;
                    } else if let Some(members) = inventory.member_indexes(name) {
                        members.iter().for_each(|index| fits[*index] = true);
                    } else {
                        unknown.push(name.as_str());
                    }
                }
                Word::Glob(glob) => {
                    let mut found = false;
                    for (host, fits) in inventory.hosts().iter().zip(&mut fits) {
                        if glob_fits(glob, host.name.as_str()) {
                            found = true;
                            *fits = true;
                        }
                    }
                    for group in inventory.groups().filter(|group| glob_fits(glob, group.name())) {
                        found = true;
                        let members = inventory.member_indexes(group.name()).unwrap_or(&[]);
                        members.iter().for_each(|index| fits[*index] = true);
                    }
                    if !found {
                        let kind = PatternErrorKind::FitsNothing(glob.clone());
                        return Err(self.error(kind));
                    }
                }
            }
        }
        if unknown.is_empty() {
            return Ok(fits);
        }
        Err(self.error(PatternErrorKind::Unknown {
            suggestion: match unknown.as_slice() {
                [name] => suggest_name(name, inventory),
                _ => None,
            },
            name: range::fold(unknown),
        }))
    }

    fn error(&self, kind: PatternErrorKind) -> PatternError {
        let span = self.span.clone();
        PatternError { span, kind }
    }
}

fn suggest_name(name: &str, inventory: &Inventory) -> Option<String> {
    let hosts = inventory.hosts().iter().map(|host| host.name.as_str());
    let groups = inventory.groups().map(Group::name);
    suggest(name, groups.chain(hosts)).map(str::to_owned)
}

/// Matches `*` (any characters) and `?` (one), in time of the product of both lengths.
fn glob_fits(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut at_glob, mut at_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        match glob.get(at_glob) {
            Some('*') => {
                star = Some((at_glob, at_name));
                at_glob += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == name[at_name] => {
                at_glob += 1;
                at_name += 1;
            }
            _ => {
                // Let the last star swallow one character more.
                let Some((star_glob, star_name)) = star else {
                    return false;
                };
                star = Some((star_glob, star_name + 1));
                at_glob = star_glob + 1;
                at_name = star_name + 1;
            }
        }
    }
    glob[at_glob..].iter().all(|c| *c == '*')
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
