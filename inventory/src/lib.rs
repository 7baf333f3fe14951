//! Who the fleet is: hosts, groups, variables with their layers, ranges and patterns. Pure: reads no file,
//! opens no connection.

pub mod diagnostic;
pub mod document;
mod formats;
mod group;
mod host;
mod inventory;
pub mod pattern;
pub mod range;
pub mod settings;
pub mod vars;

pub use group::{Group, TreeLine, TreeNode};
pub use host::{Host, HostName, NAME_BYTES_MAX, NameError, check_name};
pub use inventory::{HOSTS_MAX, Inventory};
pub use pattern::{Pattern, PatternErrors};
pub use settings::{Become, HostKeys, HostSettings, SecretRef, SshSettings, Via};
pub use vars::{Origin, Var, VarValue, Vars};
