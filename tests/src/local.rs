//! Hosts that are this machine: each has a folder of its own, and all else is the real path without SSH.

use crate::project::Project;
use std::fmt::Write as _;
use std::fs;

impl Project {
    /// Makes a project of hosts that are this machine; `{{root}}` is the folder of each.
    pub fn of_local(names: &[&str]) -> Self {
        let project = Self::new();
        project.local_inventory(names);
        project
    }

    /// Writes the inventory anew, with these hosts.
    pub fn local_inventory(&self, names: &[&str]) {
        let mut inventory = String::new();
        for name in names {
            let root = self.path(&format!("hosts/{name}"));
            fs::create_dir_all(&root).expect("a folder");
            let root = root.display();
            writeln!(
                inventory,
                "[hosts.{name}]\nvia = \"local\"\nstate_dir = \"{root}/state\"\nvars = {{ root = \"{root}\" }}"
            )
            .expect("a String takes it");
        }
        self.write("inventory.toml", inventory);
    }
}
