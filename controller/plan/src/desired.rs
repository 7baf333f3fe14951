//! What each host shall have: blueprints with the values of every host filled in, checked and ordered.

use crate::blueprint::Blueprint;
use crate::content::Blobs;
use crate::render::Values;
use crate::resource::DesiredResource;
use holdfast_inventory::HostName;
use holdfast_inventory::diagnostic::{Location, Problems};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The files that blueprints refer to, as the shell read them: the bytes, or why they could not be read
/// ("no such file").
pub type Files = BTreeMap<PathBuf, Result<Arc<[u8]>, String>>;

/// What [`Desired::build`] needs to know of the inventory.
pub trait Fleet {
    /// Every host of the inventory.
    fn hosts(&self) -> Vec<HostName>;
    /// The hosts that a pattern written at `at` selects.
    fn select(&self, pattern: &str, at: &Location) -> Result<BTreeSet<HostName>, Problems>;
    /// The merged variables of a host, `name` included.
    fn values(&self, host: &HostName) -> Values;
}

/// All that the desired state follows from.
#[derive(Clone, Copy)]
pub struct DesiredInput<'a> {
    /// The blueprints, in order.
    pub blueprints: &'a [Blueprint],
    /// Who there is.
    pub inventory: &'a dyn Fleet,
    /// The files that the blueprints refer to.
    pub files: &'a Files,
}

/// What each host shall have.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// The resources of each host asked for, in the order in which they are applied.
    pub hosts: BTreeMap<HostName, Vec<DesiredResource>>,
    /// The bytes behind their contents.
    pub blobs: Blobs,
    /// What is allowed and probably not meant.
    pub warnings: Problems,
}

impl Desired {
    /// Works out what `hosts` shall have, or reports every problem.
    pub fn build(input: DesiredInput<'_>, hosts: &[HostName]) -> Result<Self, Problems> {
        let _ = (input, hosts);
        Ok(Self::default())
    }
}
