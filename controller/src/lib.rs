//! x
pub mod demo;
pub mod transport;
