//! x
pub mod demo;
pub mod store;
pub mod transport;
