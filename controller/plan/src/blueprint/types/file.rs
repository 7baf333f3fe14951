//! `file`: content, template or source; mode, owner, group.

use crate::blueprint::check;
use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::{FileRef, ShText, Text};
use crate::resource::{Ensure, File, Resource};

/// A file whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct FileSpec {
    path: Text,
    ensure: Ensure,
    source: Option<Source>,
    mode: Option<Text>,
    owner: Option<Text>,
    group: Option<Text>,
    validate: Option<ShText>,
    pub(crate) sensitive: bool,
}

/// Where the content comes from.
#[derive(Debug, Clone)]
enum Source {
    /// A value of the blueprint.
    Content(Text),
    /// A file to fill in.
    Template(FileRef),
    /// A file to copy byte by byte.
    Verbatim(FileRef),
}

const SOURCES: [&str; 3] = ["content", "template", "source"];

impl FileSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let path = reader.own("path", check::path);
        let ensure = reader.ensure();
        let content = reader.text("content", check::anything);
        let template = reader.file("template");
        let source = reader.file("source");
        let mode = reader.mode();
        let owner = reader.text("owner", check::account);
        let group = reader.text("group", check::account);
        let validate = reader.sh("validate");
        let sensitive = reader.boolean("sensitive").unwrap_or(false);
        reader.refuse_when_absent(
            ensure,
            &["content", "template", "source", "mode", "owner", "group", "validate"],
        );
        refuse_two_sources(reader);
        if ensure == Ensure::Present && !SOURCES.iter().any(|key| reader.has(key)) {
            reader.missing("content", "give it `content`, a `template` or a `source`");
        }
        let source = content
            .map(Source::Content)
            .or(template.map(Source::Template))
            .or(source.map(Source::Verbatim));
        Some(Self {
            path: path?,
            ensure,
            source,
            mode,
            owner,
            group,
            validate,
            sensitive,
        })
    }

    pub(crate) fn references(&self) -> impl Iterator<Item = &FileRef> {
        match &self.source {
            Some(Source::Template(file) | Source::Verbatim(file)) => Some(file),
            _ => None,
        }
        .into_iter()
    }

    pub(crate) fn sh_texts(&self) -> impl Iterator<Item = &ShText> {
        self.validate.iter()
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<Resource> {
        let path = filler.text(&self.path);
        let content = match &self.source {
            None => Some(None),
            Some(Source::Content(text)) => filler.content(text).map(Some),
            Some(Source::Template(file)) => filler.template_file(file).map(Some),
            Some(Source::Verbatim(file)) => filler.verbatim_file(file).map(Some),
        };
        let mode = filler.maybe(self.mode.as_ref());
        let owner = filler.maybe(self.owner.as_ref());
        let group = filler.maybe(self.group.as_ref());
        let validate = filler.maybe_sh(self.validate.as_ref());
        Some(Resource::File(File {
            path: path?,
            ensure: self.ensure,
            content: content?,
            mode: mode?,
            owner: owner?,
            group: group?,
            sensitive: self.sensitive,
            validate: validate?,
        }))
    }
}

fn refuse_two_sources(reader: &mut Reader<'_>) {
    let given: Vec<&str> = SOURCES.into_iter().filter(|key| reader.has(key)).collect();
    if let [first, others @ ..] = &given[..] {
        for other in others {
            let span = reader.key_span(other);
            let message = format!("{} stands beside `{first}`", reader.what(other));
            reader.problem(&span, message, "keep one of `content`, `template` and `source`");
        }
    }
}
