//! The resources: one file per type, each with its probe, comparison, apply, undo and what it captures as *before*.
//!
//! A type knows nothing of ledgers, plans or transports. The sh functions that its pieces call (`hf_probe_*`,
//! `hf_attr`, ...) are the host library in `agent/sh`; docs/design/0001-host-protocol.md lists them.

mod compare;
mod cron;
mod directory;
mod file;
mod group;
mod line;
mod package;
mod script;
mod service;
mod symlink;
mod undoing;
mod user;

use crate::address::{Address, ResourceType};
use crate::change::Note;
use crate::content::Content;
use crate::ledger::Before;
use crate::observation::{Attributes, Platform};
use crate::sh::Sh;
use serde::{Deserialize, Serialize};

pub use cron::Cron;
pub use directory::Directory;
pub use file::File;
pub use group::Group;
pub use line::Line;
pub use package::{OnUndo, Package};
pub use script::Script;
pub use service::Service;
pub use symlink::Symlink;
pub use undoing::{UndoKind, Undoing, short_digest};
pub use user::User;

/// How what was observed relates to what is desired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// As desired.
    Same,
    /// Nothing is there and something is desired.
    Absent,
    /// Something is there and differs.
    Differs(Vec<Difference>),
    /// Something of another type is in the way and has to be replaced (a symlink where a file is desired).
    Replace(Vec<Difference>),
    /// The probe can't tell, in a few words why: maybe because an earlier resource is not applied yet.
    CannotTell(String),
    /// What it is about is not there, and it can't bring it itself, in a few words ("no unit nginx.service"): maybe an
    /// earlier resource does. What the ledger has and the probe can't find is drift.
    Missing(String),
    /// Nothing is there, and the folder that it belongs in, named here, is missing too: it can be made once something
    /// brings that.
    NoFolder(String),
    /// It must not be changed: a message that says why and what to do (a non-empty directory where a file is desired).
    Refused(String),
}

/// One attribute that differs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// Which.
    pub attribute: String,
    /// What the probe found.
    pub observed: String,
    /// What is desired.
    pub desired: String,
}

/// Why a resource can't be compiled for a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The host has no package manager that Holdfast can talk to.
    #[error("the host has neither apt nor dnf")]
    NoPackageManager,
    /// The host's init can't be talked to.
    #[error("the host runs neither systemd nor SysV init")]
    NoInit,
    /// Only root can do it.
    #[error("only root can change a {0}; set become = \"sudo\" for the host")]
    NeedsRoot(&'static str),
}

/// What one type of resource can do. All methods are pure.
pub trait Lifecycle {
    /// Which type this is.
    fn kind(&self) -> ResourceType;

    /// Words for the batch: what the host collects once for all resources, before the probes.
    fn collect(&self) -> Vec<Collect>;

    /// The sh that reports the attributes through `hf_attr KEY VALUE`; the same on every platform.
    fn probe(&self) -> Sh;

    /// Compares what was observed with what is desired.
    fn compare(&self, observed: &Attributes) -> Comparison;

    /// The `key value` lines that the probe must show once the resource is as desired, given how the host
    /// reports digests in `observed`. The host checks them after the step; [`Lifecycle::compare`] must agree.
    fn wanted(&self, observed: &Attributes) -> Vec<String>;

    /// The sh that captures *before* into the folder `$hf_before` (empty: the attributes say all there is).
    fn capture(&self) -> Sh;

    /// The sh that brings the host to what is desired.
    fn apply(&self, platform: &Platform) -> Result<Sh, Unsupported>;

    /// The sh that puts *before* back, chosen by what was there and never by what is desired: the attributes of
    /// `before` are given, its content lies in `$hf_before`. Of what others may have changed meanwhile (modes, owners,
    /// the fields of an account) only what Holdfast `put` there in this life is taken back, and only where it still
    /// shows; the rest is left and reported so.
    fn restore(&self, before: &Attributes, put: &Attributes, platform: &Platform) -> Result<Sh, Unsupported>;

    /// The lines that the probe must show once *before* is back (empty: nothing is checked, and the sh always runs).
    fn restored(&self, before: &Attributes, put: &Attributes) -> Vec<String>;

    /// Why nothing of it is ever undone, in a few words (a script without `undo`, a package that is kept).
    fn kept_because(&self) -> Option<&'static str> {
        None
    }

    /// Says in words what a probe `found`: what was there before, for whoever decides about it. Of what is sensitive
    /// nobody asks.
    fn describe(&self, found: &Attributes) -> String;

    /// Says in words what [`Lifecycle::restore`] does, given the same, and what it would leave.
    fn undoing(&self, before: &Attributes, put: &Attributes) -> Undoing;

    /// Of which sort of things the undo has to spare those that others have: it finds their names in `$spared`.
    fn spares(&self) -> Option<ClaimKind> {
        None
    }

    /// The sh that foretells, while the host is observed, what would go along: with the undo of what was there `before`,
    /// or with what is desired. `$managed` lists the paths that others have, one a line. It reports `hf_attr undo.KEY VALUE`, changes nothing, and no fingerprint has its words.
    fn foretell(&self, _undone: Option<&Before>) -> Option<Sh> {
        None
    }

    /// The sh that shows, while the host is observed, the text that comes back with the undo of what was there `before`: it
    /// lies on the host. `None`: there is none, or nobody may see it.
    fn show_kept(&self, _before: &Before) -> Option<Sh> {
        None
    }

    /// Whether taking it away may change what another has, though it claims nothing of that itself; what was foretold of
    /// it was `observed`.
    fn disturbs(&self, _observed: &Attributes, _claim: &Claim) -> bool {
        false
    }

    /// What the plan says of that.
    fn foretold(&self, _observed: &Attributes) -> Vec<Note> {
        Vec::new()
    }

    /// What this resource has for itself on its host. Two that share a claim can't both be there, and one that comes
    /// to the place of one that leaves waits for it.
    fn claims(&self) -> Vec<Claim>;

    /// Names the thing that this is, in words: its place, its text, whether it is to be there. When that changes
    /// under one address, the old thing is undone and the new one begins a life of its own.
    fn identity(&self) -> String;

    /// Whether `restart` has a meaning, and its sh.
    fn restart(&self, _platform: &Platform) -> Option<Result<Sh, Unsupported>> {
        None
    }

    /// The contents whose blobs the apply reads as `$hf_state/blobs/SHA256`.
    fn contents(&self) -> Vec<&Content> {
        Vec::new()
    }

    /// The contents whose blobs the undo reads.
    fn undo_contents(&self) -> Vec<&Content> {
        Vec::new()
    }
}

/// A thing on a host that one resource may have: a path, an account, a package, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// What sort of thing.
    pub kind: ClaimKind,
    /// Its name: a path, or what the host calls it.
    pub name: String,
    /// The part of it (a line of a file); `None`: the whole.
    pub part: Option<String>,
}

/// What sort of thing a resource may have for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimKind {
    /// A path.
    Path,
    /// A package.
    Package,
    /// A service.
    Service,
    /// A user.
    User,
    /// A group.
    Group,
    /// A marked line of a crontab.
    Cron,
}

impl Claim {
    /// The whole of a thing.
    pub fn whole(kind: ClaimKind, name: impl Into<String>) -> Self {
        let (name, part) = (name.into(), None);
        Self { kind, name, part }
    }

    /// A part of a thing.
    pub fn part(kind: ClaimKind, name: impl Into<String>, part: impl Into<String>) -> Self {
        let (name, part) = (name.into(), Some(part.into()));
        Self { kind, name, part }
    }

    /// Tells whether both can't be had at once.
    pub fn meets(&self, other: &Self) -> bool {
        let parts_meet = match (&self.part, &other.part) {
            (Some(one), Some(two)) => one == two,
            (None, _) | (_, None) => true,
        };
        self.kind == other.kind && self.name == other.name && parts_meet
    }

    /// Tells whether this is a path in whose folder, at any depth, the other lies.
    pub fn holds(&self, other: &Self) -> bool {
        let below = other.name.strip_prefix(self.name.trim_end_matches('/'));
        self.kind == ClaimKind::Path
            && self.kind == other.kind
            && below.is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
    }
}

/// What is collected once per host and job for all resources together (one fork each, or a few).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Collect {
    /// Type, mode, owner, group, digest of a path: one `stat` and one digest run for all.
    Path(String),
    /// State of a package: one `dpkg-query` or `rpm -q` for all.
    Package(String),
    /// State of a service: one `systemctl show` for all.
    Service(String),
    /// An account: one `getent passwd` for all.
    User(String),
    /// A group: one `getent group` for all.
    Group(String),
    /// The crontab of a user.
    Crontab(String),
}

/// The `ready` probe of a resource: after the step it must pass within its time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ready {
    /// The user's sh; exit code 0 means ready.
    pub check: String,
    /// Within how many milliseconds.
    pub timeout_ms: u64,
    /// How long between tries.
    pub every_ms: u64,
}

/// One desired resource of one host, all values rendered: what the plan compares and the ledger remembers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DesiredResource {
    /// Its address.
    pub address: Address,
    /// The resource.
    pub resource: Resource,
    /// What must be applied before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Address>,
    /// What makes it restart when it changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart_on: Vec<Address>,
    /// Variables for `check`, `apply`, `undo` and `ready.check`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(crate::sh::VariableName, String)>,
    /// When it counts as done beyond its probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    /// How long its step may take, in milliseconds.
    pub timeout_ms: u64,
    /// Whether its content is never shown nor brought back from the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
    /// Whether it may not be undone: a plan that would is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prevent_undo: bool,
    /// Whether it carries us, if the blueprint says so (see [`crate::critical`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<bool>,
    /// `file:line` of the blueprint that declares it, for people.
    #[serde(default)]
    pub declared_at: String,
}

impl DesiredResource {
    /// Lists the values that are never shown, if it is sensitive. A file's content is told by its digest alone.
    pub fn secrets(&self) -> Vec<&str> {
        if !self.sensitive {
            return Vec::new();
        }
        let mut values: Vec<&str> = self.env.iter().map(|(_, value)| value.as_str()).collect();
        match &self.resource {
            Resource::Line(line) => values.push(&line.line),
            Resource::Cron(cron) => values.push(&cron.command),
            Resource::Script(script) => values.extend(script.env.iter().map(|(_, value)| value.as_str())),
            _ => {}
        }
        values
    }
}

/// Whether a thing shall be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ensure {
    /// It shall.
    Present,
    /// It shall not.
    Absent,
}

impl Ensure {
    /// Says it behind a name: `..., absent`; what shall be there needs no word.
    pub(crate) fn after(self, name: &str) -> String {
        match self {
            Self::Present => name.to_owned(),
            Self::Absent => format!("{name}, absent"),
        }
    }
}

/// A resource of any type, rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Resource {
    /// A regular file with a content.
    File(File),
    /// A directory.
    Directory(Directory),
    /// A symbolic link.
    Symlink(Symlink),
    /// One line of a text file; other lines are not touched.
    Line(Line),
    /// A package of the host's package manager.
    Package(Package),
    /// A service of the host's init.
    Service(Service),
    /// A user account.
    User(User),
    /// A group.
    Group(Group),
    /// A line in a user's crontab, marked with the resource's name.
    Cron(Cron),
    /// The user's own sh: a check, what to do, and how to undo it.
    Script(Script),
}

impl Resource {
    /// Gives what its type can do.
    pub fn lifecycle(&self) -> &dyn Lifecycle {
        match self {
            Resource::File(resource) => resource,
            Resource::Directory(resource) => resource,
            Resource::Symlink(resource) => resource,
            Resource::Line(resource) => resource,
            Resource::Package(resource) => resource,
            Resource::Service(resource) => resource,
            Resource::User(resource) => resource,
            Resource::Group(resource) => resource,
            Resource::Cron(resource) => resource,
            Resource::Script(resource) => resource,
        }
    }
}
