//! Who the fleet is: hosts, groups, variables with their layers, ranges and patterns. Pure: reads no file,
//! opens no connection.

pub mod diagnostic;
pub mod document;
mod host;

pub use host::HostName;
