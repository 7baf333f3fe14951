//! The built-in blueprint of `holdfast agent install`: what an agent on a host is made of, as resources.
//!
//! ```text
//! script.holdfast-agent-state              STATE/agent, removed last, and the log of SysV's script with it
//! file./usr/local/bin/holdfast-agent       the binary
//! file.UNIT or file.INIT-SCRIPT            for the init that runs
//! service.holdfast-agent                   running, enabled, restarted when one of the files changes
//! ```
//!
//! Installing is an apply of these resources and removing is leaving them out: idempotence and removal come from the
//! ledger. This module runs nothing; whether reports wait on a host is for the command to ask before it removes.

mod binary;

use crate::transport::agent::AGENT_PATH;
use holdfast_plan::address::{Address, ResourceType};
use holdfast_plan::content::{Blobs, Content};
use holdfast_plan::observation::{Init, Platform};
use holdfast_plan::resource::{DesiredResource, Ensure, File, Resource, Script, Service};
use holdfast_plan::sh::VariableName;

pub use binary::{AgentBinary, BinaryError, find};

/// The service's name under every init.
pub const SERVICE_NAME: &str = "holdfast-agent";

/// Where its resources say that they are declared; by it a ledger tells them from those of the project.
pub const DECLARED_AT: &str = "the built-in agent blueprint";

/// Where systemd reads units of the administrator.
const UNIT_PATH: &str = "/etc/systemd/system/holdfast-agent.service";

/// Where SysV's scripts lie; on Red Hat's systems a link leads there.
const INIT_SCRIPT_PATH: &str = "/etc/init.d/holdfast-agent";

/// Where the daemon's messages go under SysV; systemd has its journal.
const LOG_PATH: &str = "/var/log/holdfast-agent.log";

/// What root's agent uses when the inventory says nothing.
const STATE_DIR_DEFAULT: &str = "/var/lib/holdfast";

/// How long one step may take: writing 3 MB to a slow disk, or a service manager that first waits for others.
const STEP_TIMEOUT_MS: u64 = 120_000;

const UNIT: &str = include_str!("holdfast-agent.service");
const INIT_SCRIPT: &str = include_str!("holdfast-agent.init");

/// `STATE` is given; the daemon makes the folder too, but what Holdfast put there must be in the ledger.
const STATE_CHECK: &str = r#"test -d "$STATE/agent""#;
const STATE_APPLY: &str = "umask 077\nmkdir -p \"$STATE/agent\"\n";
const STATE_UNDO: &str = "rm -rf \"$STATE/agent\"\nrm -f @LOG@ @LOG@.1\n";

/// Why a host can't have the agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallRefused {
    /// The host's init can't be told to run it.
    #[error(
        "the host runs neither systemd nor SysV init, so nothing would keep the agent running; \
         run `{AGENT_PATH} daemon` under its own supervisor, or stay with plain SSH"
    )]
    NoInit,
    /// Only root can install it.
    #[error("only root can install the agent; set become = \"sudo\" for the host, or log in as root")]
    NotRoot,
    /// The state folder can't be written into a unit or script as it is.
    #[error(
        "the agent needs a state_dir that is an absolute path of letters, digits, `/`, `.`, `_` and `-`; it is `{0}`"
    )]
    StateDir(String),
    /// The binary is for another kind of machine.
    #[error("the agent binary is for {binary}, and the host is {host}; give one for {host} with --binary FILE")]
    OtherMachine {
        /// What the binary is for.
        binary: &'static str,
        /// What `uname -m` says.
        host: String,
    },
}

/// Gives the resources that make an agent on a platform, in order, and puts their contents into `blobs`.
///
/// `arch` is the fact of that name (`uname -m`), `state_dir` the inventory's.
pub fn resources(
    platform: &Platform,
    arch: Option<&str>,
    state_dir: Option<&str>,
    binary: &AgentBinary,
    blobs: &mut Blobs,
) -> Result<Vec<DesiredResource>, InstallRefused> {
    if !platform.root {
        return Err(InstallRefused::NotRoot);
    }
    if let (Some(arch), Some(machine)) = (arch, binary.machine)
        && arch != machine
    {
        return Err(InstallRefused::OtherMachine {
            binary: machine,
            host: arch.to_owned(),
        });
    }
    let state_dir = plain_path(state_dir.unwrap_or(STATE_DIR_DEFAULT))?;
    let (init_path, init_text, init_mode) = match platform.init {
        Init::Systemd => (UNIT_PATH, UNIT, "0644"),
        Init::Sysv => (INIT_SCRIPT_PATH, INIT_SCRIPT, "0755"),
        Init::None => return Err(InstallRefused::NoInit),
    };
    let init_text = init_text
        .replace("@BINARY@", AGENT_PATH)
        .replace("@STATE@", state_dir)
        .replace("@LOG@", LOG_PATH);
    let mut binary_file = file(AGENT_PATH, blobs.insert(binary.bytes.clone()), "0755");
    // No diff of machine code: its old text is never asked for.
    binary_file.sensitive = true;
    let init_file = file(init_path, blobs.insert(init_text.into_bytes()), init_mode);
    let mut service = declared(
        Address::new(ResourceType::Service, SERVICE_NAME),
        Resource::Service(Service {
            name: SERVICE_NAME.to_owned(),
            running: Some(true),
            enabled: Some(true),
        }),
    );
    service.restart_on = vec![binary_file.address.clone(), init_file.address.clone()];
    Ok(vec![state(state_dir, blobs), binary_file, init_file, service])
}

fn plain_path(path: &str) -> Result<&str, InstallRefused> {
    let plain = path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if plain {
        Ok(path)
    } else {
        Err(InstallRefused::StateDir(path.to_owned()))
    }
}

fn state(state_dir: &str, blobs: &mut Blobs) -> DesiredResource {
    let name = format!("{SERVICE_NAME}-state");
    let variable = VariableName::new("STATE").expect("a sh name");
    let env = vec![(variable, state_dir.to_owned())];
    let mut resource = declared(
        Address::new(ResourceType::Script, &name),
        Resource::Script(Script {
            name,
            check: STATE_CHECK.to_owned(),
            apply: blobs.insert(STATE_APPLY.as_bytes()),
            undo: Some(blobs.insert(STATE_UNDO.replace("@LOG@", LOG_PATH).into_bytes())),
            env: env.clone(),
        }),
    );
    resource.env = env;
    resource
}

fn file(path: &str, content: Content, mode: &str) -> DesiredResource {
    declared(
        Address::new(ResourceType::File, path),
        Resource::File(File {
            path: path.to_owned(),
            ensure: Ensure::Present,
            content: Some(content),
            mode: Some(mode.to_owned()),
            owner: Some("root".to_owned()),
            group: None,
            sensitive: path == AGENT_PATH,
            validate: None,
        }),
    )
}

fn declared(address: Address, resource: Resource) -> DesiredResource {
    DesiredResource {
        address,
        resource,
        needs: Vec::new(),
        restart_on: Vec::new(),
        env: Vec::new(),
        ready: None,
        timeout_ms: STEP_TIMEOUT_MS,
        sensitive: false,
        prevent_undo: false,
        critical: None,
        declared_at: DECLARED_AT.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_plan::observation::PackageManager;

    fn platform(init: Init, root: bool) -> Platform {
        Platform {
            init,
            package_manager: PackageManager::None,
            root,
        }
    }

    fn agent_binary() -> AgentBinary {
        AgentBinary {
            bytes: b"\x7fELF".to_vec().into(),
            machine: Some("x86_64"),
        }
    }

    fn texts(init: Init) -> Vec<(String, String)> {
        let mut blobs = Blobs::default();
        let made = resources(&platform(init, true), Some("x86_64"), None, &agent_binary(), &mut blobs);
        let text = |desired: DesiredResource| {
            let text = match &desired.resource {
                Resource::File(file) => {
                    let content = file.content.as_ref().expect("files have a content");
                    String::from_utf8_lossy(blobs.get(&content.sha256).expect("kept")).into_owned()
                }
                _ => String::new(),
            };
            (desired.address.to_string(), text)
        };
        made.expect("an init").into_iter().map(text).collect()
    }

    #[test]
    fn an_agent_under_systemd_is_its_state_binary_unit_and_service() {
        let made = texts(Init::Systemd);
        let addresses: Vec<&str> = made.iter().map(|(address, _)| address.as_str()).collect();
        assert_eq!(
            addresses,
            [
                "script.holdfast-agent-state",
                "file./usr/local/bin/holdfast-agent",
                "file./etc/systemd/system/holdfast-agent.service",
                "service.holdfast-agent",
            ]
        );
        let unit = &made[2].1;
        assert!(unit.contains("\nExecStart=/usr/local/bin/holdfast-agent daemon --state-dir /var/lib/holdfast\n"));
        assert!(unit.contains("\nKillMode=process\n"));
    }

    #[test]
    fn the_init_script_is_sh_and_has_an_lsb_header() {
        let script = &texts(Init::Sysv)[2].1;
        assert!(
            script.contains("\n### BEGIN INIT INFO\n# Provides:          holdfast-agent\n") && !script.contains('@')
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("holdfast-agent");
        std::fs::write(&path, script).expect("written");
        let parsed = std::process::Command::new("/bin/sh").arg("-n").arg(&path).status();
        assert!(parsed.expect("sh runs").success());
        let status = std::process::Command::new("/bin/sh").arg(&path).arg("bogus").status();
        assert_eq!(status.expect("sh runs").code(), Some(2));
    }

    #[test]
    fn hosts_that_cannot_have_the_agent_are_told_why() {
        let refuse = |platform: &Platform, arch, state_dir| {
            resources(platform, arch, state_dir, &agent_binary(), &mut Blobs::default()).expect_err("refused")
        };
        assert_eq!(refuse(&platform(Init::None, true), None, None), InstallRefused::NoInit);
        assert_eq!(
            refuse(&platform(Init::Sysv, false), None, None),
            InstallRefused::NotRoot
        );
        let systemd = platform(Init::Systemd, true);
        assert!(matches!(
            refuse(&systemd, Some("aarch64"), None),
            InstallRefused::OtherMachine { .. }
        ));
        for wrong in ["~/.holdfast", "/a b", "/a%h", "relative"] {
            assert_eq!(
                refuse(&systemd, None, Some(wrong)),
                InstallRefused::StateDir(wrong.to_owned())
            );
        }
    }
}
