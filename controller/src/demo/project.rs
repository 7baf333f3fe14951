//! The project of the demo: written out, so that it can be read, changed and used with every command.

use crate::cli::error::{CliError, CliResult};
use crate::demo::server::{DemoHost, DemoKey};
use std::fs;
use std::path::{Path, PathBuf};

/// A written project.
pub struct DemoProject {
    /// Its folder.
    pub root: PathBuf,
}

const BLUEPRINT: &str = include_str!("base.toml");
const MOTD: &str = include_str!("motd.hbs");
/// What stands before the resource that the walk takes away.
const LINE_MARK: &str = "[line.ntp]";

impl DemoProject {
    /// Writes the project for these hosts.
    pub fn write(folder: &Path, key: &DemoKey, hosts: &[DemoHost]) -> CliResult<Self> {
        let root = folder.join("project");
        let mut inventory = String::from(
            "# Made by `holdfast demo`: each host listens on a port of its own and keeps to its folder.\n[all]\nvars = { ntp = \"10.0.0.1\" }\n",
        );
        let mut known_hosts = String::new();
        for host in hosts {
            let folder = host.root.display();
            inventory.push_str(&format!(
                "\n[hosts.{}]\naddress = \"{}\"\nport = {}\nstate_dir = \"{folder}/state\"\nvars = {{ root = \"{folder}\" }}\n",
                host.name,
                host.address.ip(),
                host.address.port()
            ));
            known_hosts.push_str(host.known_hosts_line.trim_end());
            known_hosts.push('\n');
        }
        let names: Vec<String> = hosts.iter().map(|host| format!("\"{}\"", host.name)).collect();
        inventory.push_str(&format!("\n[groups.demo]\nhosts = [{}]\n", names.join(", ")));
        let settings = format!(
            "[ssh]\nuser = \"demo\"\nidentity = [\"{}\"]\nhost_keys = \"strict\"\n",
            key.private.display()
        );
        for (name, text) in [
            ("holdfast.toml", settings.as_str()),
            ("inventory.toml", &inventory),
            ("blueprints/base.toml", BLUEPRINT),
            ("blueprints/motd.hbs", MOTD),
            (".holdfast/known_hosts", &known_hosts),
        ] {
            write(&root.join(name), text)?;
        }
        Ok(Self { root })
    }

    /// Takes the last resource out of the blueprint, as a user would with an editor.
    pub fn drop_line(&self) -> CliResult<()> {
        let kept = BLUEPRINT.split(LINE_MARK).next().unwrap_or(BLUEPRINT);
        write(&self.root.join("blueprints/base.toml"), kept)
    }
}

fn write(path: &Path, text: &str) -> CliResult<()> {
    let doing = |error: std::io::Error| CliError::doing(format!("write {}", path.display()), &error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(doing)?;
    }
    fs::write(path, text).map_err(doing)
}
