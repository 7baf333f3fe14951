//! `line`: one line of a text file.

use crate::blueprint::check;
use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::{ShText, Text};
use crate::resource::{Ensure, Line, Resource};

/// A line whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct LineSpec {
    path: Text,
    ensure: Ensure,
    line: Text,
    validate: Option<ShText>,
}

impl LineSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let path = reader.own("path", check::path);
        let ensure = reader.ensure();
        let line = reader.required("line", check::one_line, "give the line as it shall stand in the file");
        let validate = reader.sh("validate");
        Some(Self {
            path: path?,
            ensure,
            line: line?,
            validate,
        })
    }

    pub(crate) fn sh_texts(&self) -> impl Iterator<Item = &ShText> {
        self.validate.iter()
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<Resource> {
        let path = filler.text(&self.path);
        let line = filler.text(&self.line);
        let validate = filler.maybe_sh(self.validate.as_ref());
        Some(Resource::Line(Line {
            path: path?,
            ensure: self.ensure,
            line: line?,
            validate: validate?,
        }))
    }
}
