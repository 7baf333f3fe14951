//! Random walks on real sh: blueprints that come and go, people at work, jobs and controllers that are killed, and then the
//! empty blueprint. What people put where is kept by hand in a model, and at the end the host has to be that.
//!
//! ```text
//! walk(seed): Dice ──> people's hands ──> Host (a folder, accounts of its own)     Model: what people want there
//!                 └──> blueprint ──> Controller: observe, plan, job, journal, ledger ──┘
//! ```
//!
//! The planner and the fold run in the process; the programs are the real ones, and `/bin/sh` runs them. Nothing here looks at what
//! the code under test believes in order to know what it shall believe.

pub mod accounts;
pub mod controller;
pub mod dice;
pub mod host;
pub mod paths;
pub mod tree;
pub mod word;
