//! The host side of Holdfast: the wire protocol of the agent and the sh that runs on hosts. Knows no plan.
//!
//! Two kinds of carriers bring sh programs to a host: a plain SSH exec channel, and the agent, which speaks [`wire`]
//! over one. Both feed the same sh, so that a job started by one is collected by the other.

pub mod program;
pub mod reply;
pub mod wire;
