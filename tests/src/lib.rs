//! The test bed: real hosts with file systems of their own, and what tests share. The tests themselves are in `tests/`.

pub mod bed;
pub mod fleet;
pub mod gate;
pub mod local;
pub mod packages;
pub mod project;
pub mod simulator;
mod skip;
pub mod slow;
pub mod snapshot;
pub mod waiting;
pub mod walk;
