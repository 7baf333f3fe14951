//! The core of Holdfast: what each machine needs and how it gets there.
//!
//! Pure and synchronous: no tokio, russh, SQL, clock, randomness or file system; Cargo.toml shows it. Time and ids
//! are handed in, events come in, decisions go out.

pub mod address;
pub mod backoff;
pub mod blueprint;
pub mod change;
pub mod content;
pub mod critical;
pub mod desired;
pub mod event;
pub mod exit_code;
pub mod explain;
pub mod graph;
pub mod ids;
pub mod job;
pub mod ledger;
pub mod lifecycle;
pub mod lint;
pub mod observation;
pub mod outcome;
pub mod planner;
pub mod render;
pub mod report;
pub mod resource;
pub mod rule;
pub mod run;
pub mod sh;
