//! A gate in front of a host's shell: it notes every command that comes over SSH, and can let in the agent alone, or let
//! things hang.
//!
//! It is the `command=` of root's authorized key, so what it noted is what sshd was asked for, whatever the
//! controller says of itself.

use crate::bed::BedHost;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where it notes; logs are no part of a snapshot.
const NOTES: &str = "var/log/gate.notes";

/// While this is there, only the agent is let in.
const AGENT_ONLY: &str = "var/log/gate.agent-only";

/// What is in there hangs: `agent` or `all`.
const HANGS: &str = "var/log/gate.hangs";

/// Whoever came and hangs leaves this.
const HUNG: &str = "var/log/gate.hung";

/// What does not get through a gate, and is not refused either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangs {
    /// Everything gets through.
    Nothing,
    /// The agent.
    Agent,
    /// All that comes.
    All,
}

/// The exit code of a refusal: none that sh, ssh or the agent have.
const GATE: &str = r#"#!/bin/sh
printf '%s\n' "$SSH_ORIGINAL_COMMAND" >>/var/log/gate.notes
if [ -e /var/log/gate.agent-only ]; then
    case $SSH_ORIGINAL_COMMAND in
    '/usr/local/bin/holdfast-agent stdio'*) ;;
    *) echo 'the gate lets in the agent alone' >&2; exit 77 ;;
    esac
fi
if [ -e /var/log/gate.hangs ]; then
    case $(cat /var/log/gate.hangs),$SSH_ORIGINAL_COMMAND in
    all,* | agent,*/holdfast-agent*) : >/var/log/gate.hung; exec sleep 100 ;;
    esac
fi
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"#;

/// Puts the gate into a host that has not booted yet ([`crate::bed::HostSpec::prepare`]).
pub fn put(root: &Path) {
    let gate = root.join("usr/local/sbin/gate");
    fs::write(&gate, GATE).expect("the gate");
    fs::set_permissions(&gate, fs::Permissions::from_mode(0o755)).expect("its mode");
    let keys = root.join("root/.ssh/authorized_keys");
    let key = fs::read_to_string(&keys).expect("the bed put it there");
    fs::write(&keys, format!("command=\"/usr/local/sbin/gate\" {key}")).expect("authorized_keys");
}

/// Lets in the agent alone from now on, or everybody again.
pub fn let_in_agent_alone(host: &BedHost, alone: bool) {
    let flag = host.root.join(AGENT_ONLY);
    if alone {
        fs::write(flag, "").expect("a flag");
    } else {
        let _ = fs::remove_file(flag);
    }
}

/// Lets what comes hang from now on.
pub fn hang(host: &BedHost, what: Hangs) {
    let (hangs, hung) = (host.root.join(HANGS), host.root.join(HUNG));
    let _ = fs::remove_file(hung);
    let word = match what {
        Hangs::Nothing => {
            let _ = fs::remove_file(hangs);
            return;
        }
        Hangs::Agent => "agent",
        Hangs::All => "all",
    };
    // Whole or not at all: the gate may read it this very moment.
    let new = host.root.join("var/log/gate.new");
    fs::write(&new, word).expect("a file");
    fs::rename(new, hangs).expect("its place");
}

/// Tells whether something hangs at the gate since [`hang`].
pub fn is_hanging(host: &BedHost) -> bool {
    host.root.join(HUNG).exists()
}

/// Gives the commands that came since the last call of [`commands`].
pub fn commands_so_far(host: &BedHost) -> Vec<String> {
    let text = fs::read_to_string(host.root.join(NOTES)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Gives the commands that came since the last call, and forgets them.
pub fn commands(host: &BedHost) -> Vec<String> {
    let notes = host.root.join(NOTES);
    let text = fs::read_to_string(&notes).unwrap_or_default();
    let _ = fs::remove_file(notes);
    text.lines().map(str::to_owned).collect()
}
