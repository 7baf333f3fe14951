//! `holdfast demo`: SSH hosts inside this process, each with its own folder, for a walk through every command.

pub mod server;
