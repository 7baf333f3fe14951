//! Fills the values of one host after the other in, and keeps what they share: compiled files and digests.

use super::folded::HostProblems;
use super::text::{FileRef, LineEnds, ShText, Text, fault_in_file};
use crate::content::{Blobs, Content};
use crate::render::{Scope, Template};
use holdfast_inventory::HostName;
use holdfast_inventory::diagnostic::{Location, Problem, SourceFile};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// The files that blueprints refer to, as the shell read them: the bytes, or why they could not be read
/// ("no such file").
pub type Files = BTreeMap<PathBuf, Result<Arc<[u8]>, String>>;

/// A template file, compiled once.
type Compiled = Option<(Arc<SourceFile>, Template)>;

/// Fills values in.
pub(crate) struct Filler<'a> {
    files: &'a Files,
    host: HostName,
    scope: Arc<Scope>,
    /// Of the resource that is filled in.
    pub(crate) line_ends: LineEnds,
    pub(crate) blobs: Blobs,
    pub(crate) problems: HostProblems,
    /// The variables that what is filled in names, if somebody wants to know.
    pub(crate) named: Option<BTreeSet<String>>,
    /// `None`: it could not be compiled, and that was reported.
    templates: HashMap<PathBuf, Compiled>,
    sources: HashMap<PathBuf, Content>,
    /// Texts by what they are, so that one that is the same on every host is digested once.
    contents: HashMap<Arc<[u8]>, Content>,
}

impl<'a> Filler<'a> {
    /// Starts with no host.
    pub(crate) fn new(files: &'a Files) -> Self {
        Self {
            files,
            host: HostName::from(""),
            scope: Arc::new(Scope::new(crate::render::Values::new())),
            line_ends: LineEnds::default(),
            blobs: Blobs::default(),
            problems: HostProblems::default(),
            named: None,
            templates: HashMap::new(),
            sources: HashMap::new(),
            contents: HashMap::new(),
        }
    }

    /// Goes on with another host, or with other defaults.
    pub(crate) fn turn_to(&mut self, host: &HostName, scope: Arc<Scope>) {
        self.host = host.clone();
        self.scope = scope;
    }

    fn report(&mut self, problem: Problem) {
        self.problems.push(&self.host, problem);
    }

    /// Fills one text in and checks what came out.
    pub(crate) fn text(&mut self, text: &Text) -> Option<String> {
        if let Some(named) = &mut self.named {
            named.extend(text.template.variables().map(str::to_owned));
        }
        let filled = match text.template.render(&self.scope) {
            Ok(filled) => filled,
            Err(fault) => {
                self.report(text.fault(fault));
                return None;
            }
        };
        if let Err(complaint) = (text.check)(&filled) {
            let problem = text.complaint(&complaint);
            self.problems.push_as(&self.host, problem, text.what.to_string());
            return None;
        }
        Some(filled)
    }

    /// Fills a text in that may be left out.
    #[expect(
        clippy::option_option,
        reason = "the outer one tells a fault from a key that is not given"
    )]
    pub(crate) fn maybe(&mut self, text: Option<&Text>) -> Option<Option<String>> {
        match text {
            Some(text) => self.text(text).map(Some),
            None => Some(None),
        }
    }

    /// Fills all texts in; `None` if one has a fault, after all were tried.
    pub(crate) fn texts(&mut self, texts: &[Text]) -> Option<Vec<String>> {
        let filled: Vec<Option<String>> = texts.iter().map(|text| self.text(text)).collect();
        filled.into_iter().collect()
    }

    /// Fills a number in that may be left out.
    #[expect(
        clippy::option_option,
        reason = "the outer one tells a fault from a key that is not given"
    )]
    pub(crate) fn number(&mut self, text: Option<&Text>) -> Option<Option<u32>> {
        let filled = self.maybe(text)?;
        Some(filled.map(|number| number.parse().expect("the check of a number parses it")))
    }

    /// Keeps bytes and gives their content.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Content {
        if let Some(content) = self.contents.get(bytes) {
            return content.clone();
        }
        let bytes: Arc<[u8]> = bytes.into();
        let content = self.blobs.insert(Arc::clone(&bytes));
        self.contents.insert(bytes, content.clone());
        content
    }

    /// Fills a text in and keeps it.
    pub(crate) fn content(&mut self, text: &Text) -> Option<Content> {
        let filled = self.text(text)?;
        Some(self.keep(filled.as_bytes()))
    }

    /// Fills a template file in and keeps what came out.
    pub(crate) fn template_file(&mut self, file: &FileRef) -> Option<Content> {
        if !self.templates.contains_key(&file.path) {
            let compiled = self.compile(file);
            self.templates.insert(file.path.clone(), compiled);
        }
        let (source, template) = self.templates.get(&file.path)?.as_ref()?;
        if let Some(named) = &mut self.named {
            named.extend(template.variables().map(str::to_owned));
        }
        match template.render(&self.scope) {
            Ok(filled) => Some(self.keep(filled.as_bytes())),
            Err(fault) => {
                let problem = fault_in_file(source, fault);
                self.report(problem);
                None
            }
        }
    }

    /// Keeps a file byte by byte.
    pub(crate) fn verbatim_file(&mut self, file: &FileRef) -> Option<Content> {
        if let Some(content) = self.sources.get(&file.path) {
            return Some(content.clone());
        }
        let bytes = self.read(file)?;
        let content = self.blobs.insert(bytes);
        self.sources.insert(file.path.clone(), content.clone());
        Some(content)
    }

    /// Gives the user's sh, if there is any.
    pub(crate) fn maybe_sh(&mut self, sh: Option<&ShText>) -> Option<Option<String>> {
        match sh {
            Some(sh) => self.sh(sh).map(|text| Some(text.to_string())),
            None => Some(None),
        }
    }

    /// Gives the user's own sh, which is never filled in.
    pub(crate) fn sh(&mut self, sh: &ShText) -> Option<Arc<str>> {
        let file = match sh {
            ShText::Inline { text, at } => {
                let written = at.file.text.get(at.span.clone()).unwrap_or("");
                let cr = written.find("\r\n").map_or(at.clone(), |offset| {
                    Location::new(&at.file, at.span.start + offset..at.span.start + offset + 1)
                });
                return self.line_ends(Arc::clone(text), |_| cr);
            }
            ShText::File(file) => file,
        };
        let bytes = self.read(file)?;
        let wrong = match std::str::from_utf8(&bytes) {
            Ok(text) if text.trim().is_empty() => "is empty",
            Ok(text) if text.contains('\0') => "contains a NUL byte",
            Ok(text) => {
                let place = |offset| Location::new(&SourceFile::new(&file.path, text), offset..offset + 1);
                return self.line_ends(text.into(), place);
            }
            Err(_) => "is not UTF-8",
        };
        let message = format!("{} names {}, which {wrong}", file.what, file.path.display());
        self.report(Problem::at(file.at.clone(), message).help("give it sh text"));
        None
    }

    /// Takes or refuses the CR of lines that end with CR LF; `place` finds the first one.
    fn line_ends(&mut self, text: Arc<str>, place: impl FnOnce(usize) -> Location) -> Option<Arc<str>> {
        let ends_with_cr = text.ends_with('\r').then(|| text.len() - 1);
        let Some(first) = text.find("\r\n").or(ends_with_cr) else {
            return Some(text);
        };
        if self.line_ends == LineEnds::StripCr {
            let stripped = text.replace("\r\n", "\n");
            return Some(stripped.strip_suffix('\r').unwrap_or(&stripped).into());
        }
        self.report(
            Problem::at(
                place(first),
                "a line of sh ends with CR LF: sh would take the CR for a part of its last word",
            )
            .help("save it with LF alone, or write crlf = \"strip\" in the resource"),
        );
        None
    }

    fn compile(&mut self, file: &FileRef) -> Compiled {
        let bytes = self.read(file)?;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            let message = format!("{} names {}, which is not UTF-8", file.what, file.path.display());
            self.report(Problem::at(file.at.clone(), message).help("use `source` for a file that is copied as it is"));
            return None;
        };
        let source = SourceFile::new(&file.path, text);
        match Template::compile(text) {
            Ok(template) => Some((source, template)),
            Err(fault) => {
                self.report(fault_in_file(&source, fault));
                None
            }
        }
    }

    /// Gives a file's bytes; those that are not there were reported before any host was begun.
    fn read(&mut self, file: &FileRef) -> Option<Arc<[u8]>> {
        self.files.get(&file.path)?.as_ref().ok().map(Arc::clone)
    }
}
