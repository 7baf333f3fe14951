//! A gate in front of a host's shell: it notes every command that comes over SSH, and can let in the agent alone.
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

/// The exit code of a refusal: none that sh, ssh or the agent have.
const GATE: &str = r#"#!/bin/sh
printf '%s\n' "$SSH_ORIGINAL_COMMAND" >>/var/log/gate.notes
if [ -e /var/log/gate.agent-only ]; then
    case $SSH_ORIGINAL_COMMAND in
    '/usr/local/bin/holdfast-agent stdio'*) ;;
    *) echo 'the gate lets in the agent alone' >&2; exit 77 ;;
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

/// Gives the commands that came since the last call.
pub fn commands(host: &BedHost) -> Vec<String> {
    let notes = host.root.join(NOTES);
    let text = fs::read_to_string(&notes).unwrap_or_default();
    let _ = fs::remove_file(notes);
    text.lines().map(str::to_owned).collect()
}
