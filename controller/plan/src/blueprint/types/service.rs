//! `service`: running, enabled, and what makes it restart.

use crate::blueprint::check;
use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::Text;
use crate::resource::{Resource, Service};

/// A service whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct ServiceSpec {
    name: Text,
    running: Option<bool>,
    enabled: Option<bool>,
}

impl ServiceSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.own("name", check::service);
        let running = reader.boolean("running");
        let enabled = reader.boolean("enabled");
        if !["running", "enabled", "restart_on"].iter().any(|key| reader.has(key)) {
            reader.missing(
                "running",
                "say `running`, `enabled` or `restart_on`, or nothing would be done",
            );
        }
        Some(Self {
            name: name?,
            running,
            enabled,
        })
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<Resource> {
        Some(Resource::Service(Service {
            name: filler.text(&self.name)?,
            running: self.running,
            enabled: self.enabled,
        }))
    }
}
