//! `script`: the user's own `check`, `apply` and `undo`.

use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::ShText;
use crate::resource::{Resource, Script};
use crate::sh::VariableName;

/// A script; its sh is never filled in, its variables are.
#[derive(Debug, Clone)]
pub(crate) struct ScriptSpec {
    check: ShText,
    apply: ShText,
    undo: Option<ShText>,
}

impl ScriptSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let check = reader.required_sh("check", "give sh that exits 0 when all is as desired");
        let apply = reader.required_sh("apply", "give sh that makes it so");
        let undo = reader.sh("undo");
        if reader.has("file") {
            reader.keys.value("file");
            let span = reader.key_span("file");
            let help = "write apply = { file = \"...\" }, and so for `check` and `undo`";
            reader.problem(&span, format!("unknown key {}", reader.what("file")), help);
        }
        Some(Self {
            check: check?,
            apply: apply?,
            undo,
        })
    }

    pub(crate) fn sh_texts(&self) -> impl Iterator<Item = &ShText> {
        [&self.check, &self.apply].into_iter().chain(&self.undo)
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>, name: &str, env: &[(VariableName, String)]) -> Option<Resource> {
        let check = filler.sh(&self.check);
        let apply = filler.sh(&self.apply);
        let undo = self.undo.as_ref().map(|undo| filler.sh(undo));
        Some(Resource::Script(Script {
            name: name.to_owned(),
            check: check?.to_string(),
            apply: filler.keep(apply?.as_bytes()),
            undo: match undo {
                Some(undo) => Some(filler.keep(undo?.as_bytes())),
                None => None,
            },
            env: env.to_vec(),
        }))
    }
}
