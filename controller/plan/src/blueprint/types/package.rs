//! `package`: a package of the host's package manager.

use crate::blueprint::check;
use crate::blueprint::fill::Filler;
use crate::blueprint::reader::Reader;
use crate::blueprint::text::Text;
use crate::resource::{Ensure, Package, Resource};

/// A package whose values are not filled in yet.
#[derive(Debug, Clone)]
pub(crate) struct PackageSpec {
    name: Text,
    ensure: Ensure,
}

impl PackageSpec {
    pub(in crate::blueprint) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let name = reader.own("name", check::package);
        let ensure = reader.ensure();
        Some(Self { name: name?, ensure })
    }

    pub(crate) fn fill(&self, filler: &mut Filler<'_>) -> Option<Resource> {
        Some(Resource::Package(Package {
            name: filler.text(&self.name)?,
            ensure: self.ensure,
        }))
    }
}
