//! x
pub mod agent_blueprint;
pub mod config;
pub mod demo;
pub mod store;
pub mod transport;
