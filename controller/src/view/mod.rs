//! What people and programs see: human text, JSON and progress. Decides nothing; gets values and shows them.

pub mod command;
pub mod diff;
pub mod explain;
pub mod fold;
pub mod machine;
pub mod outdir;
pub mod plan;
pub mod problems;
pub mod progress;
pub mod recap;
pub mod run;
pub mod sanitize;
pub mod terminal;
pub mod time;
pub mod words;
