//! Reads the keys of one resource: the typed getters of [`TableReader`], with templates, names and files on top.

use super::check::{self, Check};
use super::text::{FileRef, ShText, Text};
use crate::address::Address;
use crate::render::Template;
use crate::resource::Ensure;
use holdfast_inventory::diagnostic::{Location, Problem, Problems, SourceFile};
use holdfast_inventory::document::{Kind, Table, TableReader, Value};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Reads one resource.
pub(super) struct Reader<'a> {
    pub(super) keys: TableReader<'a>,
    pub(super) problems: &'a mut Problems,
    file: &'a Arc<SourceFile>,
    table: &'a Table,
    /// What is read, in messages: the address, or a key of it.
    subject: String,
    /// The resource's own name.
    name: &'a str,
    name_span: Range<usize>,
}

impl<'a> Reader<'a> {
    /// Starts to read the resource `address`, whose name stands at `name_span`.
    pub(super) fn new(
        file: &'a Arc<SourceFile>,
        table: &'a Table,
        address: &'a Address,
        name_span: Range<usize>,
        problems: &'a mut Problems,
    ) -> Self {
        Self {
            keys: TableReader::new(file, table, address.to_string()),
            problems,
            file,
            table,
            subject: address.to_string(),
            name: &address.name,
            name_span,
        }
    }

    /// Starts to read a table inside this resource, whose key stands at `span`.
    pub(super) fn inside<'b>(&'b mut self, table: &'b Table, what: &str, span: Range<usize>) -> Reader<'b> {
        Reader {
            keys: TableReader::new(self.file, table, what),
            problems: self.problems,
            file: self.file,
            table,
            subject: what.to_owned(),
            name: self.name,
            name_span: span,
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, not_built: &[&'static str]) {
        self.keys.finish(not_built, self.problems);
    }

    /// Makes a location in this file.
    pub(super) fn location(&self, span: &Range<usize>) -> Location {
        Location::new(self.file, span.clone())
    }

    /// Names a key of this resource in messages.
    pub(super) fn what(&self, key: &str) -> Arc<str> {
        format!("`{key}` of {}", self.subject).into()
    }

    /// Reports a problem.
    pub(super) fn problem(&mut self, span: &Range<usize>, message: String, help: &str) {
        let at = self.location(span);
        self.problems.push(Problem::at(at, message).help(help));
    }

    /// Gives the place of a key, or of the name if the key is not there.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.table
            .get(key)
            .map_or_else(|| self.name_span.clone(), |entry| entry.key_span.clone())
    }

    /// Reports that a key is not there.
    pub(super) fn missing(&mut self, key: &str, help: &str) {
        let span = self.name_span.clone();
        self.problem(&span, format!("{} lacks `{key}`", self.subject), help);
    }

    /// Compiles a text and, when nothing has to be filled in, checks it at once.
    pub(super) fn compile(&mut self, text: &str, span: &Range<usize>, what: Arc<str>, check: Check) -> Option<Text> {
        let mut compiled = Text {
            template: Template::literal(text),
            at: self.location(span),
            what,
            check,
        };
        match Template::compile(text) {
            Ok(template) => compiled.template = template,
            Err(fault) => {
                self.problems.push(compiled.fault(fault));
                return None;
            }
        }
        if compiled.template.is_literal()
            && let Err(complaint) = check(text)
        {
            self.problems.push(compiled.complaint(&complaint));
            return None;
        }
        Some(compiled)
    }

    /// Takes a string that may hold a template.
    pub(super) fn text(&mut self, key: &'static str, check: Check) -> Option<Text> {
        let text = self.keys.string(key, self.problems)?;
        let what = self.what(key);
        self.compile(text.get_ref(), &text.span(), what, check)
    }

    /// Takes a string that must be there.
    pub(super) fn required(&mut self, key: &'static str, check: Check, help: &str) -> Option<Text> {
        if self.table.get(key).is_none() {
            // Ask all the same: the key is known.
            self.keys.value(key);
            self.missing(key, help);
            return None;
        }
        self.text(key, check)
    }

    /// Takes a string that the resource's name stands for when it is not there.
    pub(super) fn own(&mut self, key: &'static str, check: Check) -> Option<Text> {
        if self.table.get(key).is_some() {
            return self.text(key, check);
        }
        self.keys.value(key);
        let span = self.name_span.clone();
        let name = self.name.to_owned();
        if let Err(complaint) = check(&name) {
            let message = format!("{} has no `{key}`, and its name {}", self.subject, complaint.message);
            self.problem(&span, message, &format!("give it a `{key}`, or {}", complaint.help));
            return None;
        }
        self.compile(&name, &span, format!("the name of {}", self.subject).into(), check)
    }

    /// Takes an array of strings that may hold templates.
    pub(super) fn texts(&mut self, key: &'static str, check: Check) -> Option<Vec<Text>> {
        let items = self.keys.strings(key, self.problems)?;
        let what = self.what(key);
        Some(
            items
                .iter()
                .filter_map(|item| self.compile(item.get_ref(), &item.span(), Arc::clone(&what), check))
                .collect(),
        )
    }

    /// Takes an integer, or a string whose template gives one.
    pub(super) fn number(&mut self, key: &'static str, check: Check) -> Option<Text> {
        match self.table.get(key).map(|entry| &entry.value.kind) {
            Some(Kind::Integer(number)) => {
                let value = self.keys.value(key)?;
                let what = self.what(key);
                self.compile(&number.to_string(), &value.span, what, check)
            }
            Some(Kind::String(_)) => self.text(key, check),
            _ => {
                self.keys.integer(key, 0..=i64::from(u32::MAX), self.problems);
                None
            }
        }
    }

    /// Takes a mode.
    pub(super) fn mode(&mut self) -> Option<Text> {
        if let Some(Value {
            span,
            kind: Kind::Integer(_),
        }) = self.table.get("mode").map(|entry| &entry.value)
        {
            self.keys.value("mode");
            let message = format!("{} is an integer", self.what("mode"));
            self.problem(span, message, "write four octal digits as a string: \"0644\"");
            return None;
        }
        self.text("mode", check::mode)
    }

    /// Takes `ensure`.
    pub(super) fn ensure(&mut self) -> Ensure {
        let choices = [("present", Ensure::Present), ("absent", Ensure::Absent)];
        self.keys
            .choice("ensure", &choices, self.problems)
            .unwrap_or(Ensure::Present)
    }

    /// Takes a boolean.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.keys.boolean(key, self.problems)
    }

    /// Takes the path of a file of the project.
    pub(super) fn file(&mut self, key: &'static str) -> Option<FileRef> {
        let text = self.keys.string(key, self.problems)?;
        let what = self.what(key);
        self.file_ref(text.get_ref(), &text.span(), what)
    }

    fn file_ref(&mut self, text: &str, span: &Range<usize>, what: Arc<str>) -> Option<FileRef> {
        let wrong = if text.is_empty() || text.contains(char::is_control) {
            Some("name a file, relative to the blueprint")
        } else if text.contains("{{") {
            Some("the file is the same on every host; templates in its path are not built yet")
        } else {
            None
        };
        if let Some(help) = wrong {
            self.problem(span, format!("{what} is \"{}\", not a path", text.escape_debug()), help);
            return None;
        }
        let folder = self.file.path.parent().unwrap_or(Path::new(""));
        Some(FileRef {
            path: folder.join(text),
            at: self.location(span),
            what,
        })
    }

    /// Takes sh text: a string, or `{ file = "join.sh" }`.
    pub(super) fn sh(&mut self, key: &'static str) -> Option<ShText> {
        let value = self.keys.value(key)?;
        let what = self.what(key);
        match &value.kind {
            Kind::String(text) => self.sh_inline(text, &value.span, &what),
            Kind::Table(table) => {
                let mut keys = TableReader::new(self.file, table, what.as_ref());
                let file = keys.string("file", self.problems);
                keys.finish(&[], self.problems);
                match file {
                    Some(file) => self.file_ref(file.get_ref(), &file.span(), what).map(ShText::File),
                    None if table.get("file").is_none() => {
                        self.problem(
                            &value.span,
                            format!("{what} lacks `file`"),
                            "write { file = \"script.sh\" }",
                        );
                        None
                    }
                    None => None,
                }
            }
            other => {
                let message = format!("{what} is of type {}, not sh", other.name());
                self.problem(&value.span, message, "write a string, or { file = \"script.sh\" }");
                None
            }
        }
    }

    fn sh_inline(&mut self, text: &str, span: &Range<usize>, what: &str) -> Option<ShText> {
        if text.trim().is_empty() {
            self.problem(
                span,
                format!("{what} is empty"),
                "write what sh shall run, or leave the key out",
            );
            return None;
        }
        if let Err(complaint) = check::no_nul(text) {
            self.problem(span, format!("{what} {}", complaint.message), complaint.help);
            return None;
        }
        Some(ShText::Inline {
            text: text.into(),
            at: self.location(span),
        })
    }

    /// Takes sh text that must be there.
    pub(super) fn required_sh(&mut self, key: &'static str, help: &str) -> Option<ShText> {
        if self.table.get(key).is_none() {
            self.keys.value(key);
            self.missing(key, help);
            return None;
        }
        self.sh(key)
    }

    /// Tells whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Reports a key that makes no sense beside `ensure = "absent"`.
    pub(super) fn refuse_when_absent(&mut self, ensure: Ensure, keys: &[&str]) {
        if ensure == Ensure::Present {
            return;
        }
        for key in keys {
            if self.has(key) {
                let span = self.key_span(key);
                let message = format!("{} has no meaning with `ensure = \"absent\"`", self.what(key));
                self.problem(&span, message, "remove the key");
            }
        }
    }
}
