//! `holdfast init`: a project that can be run at once, on this machine alone, without root.

use crate::cli::args::{Global, InitArgs};
use crate::cli::error::{CliError, CliResult};
use crate::view::terminal::data;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of a new project. The host is this machine, so that `plan` and `apply` work before any SSH is set up.
const FILES: [(&str, &str); 5] = [
    ("holdfast.toml", include_str!("scaffold/holdfast.toml")),
    ("inventory.toml", include_str!("scaffold/inventory.toml")),
    ("blueprints/first.toml", include_str!("scaffold/first.toml")),
    ("blueprints/greeting.hbs", include_str!("scaffold/greeting.hbs")),
    (".gitignore", include_str!("scaffold/gitignore")),
];

/// Runs the command.
pub fn run(global: &Global, args: &InitArgs) -> CliResult<i32> {
    let start = global.directory.clone().unwrap_or_else(|| PathBuf::from("."));
    let folder = args.folder.as_ref().map_or(start.clone(), |folder| start.join(folder));
    let there: Vec<&str> = FILES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| folder.join(name).exists())
        .collect();
    if !there.is_empty() {
        return Err(CliError::hinted(
            format!("{} already has {}", folder.display(), there.join(", ")),
            "name another folder: holdfast init fleet",
        ));
    }
    for (name, text) in FILES {
        write(&folder.join(name), text)?;
    }
    let shown = folder.display();
    data(&format!("Made a project in {shown}:\n"));
    for (name, _) in FILES {
        data(&format!("  {name}\n"));
    }
    let enter = if folder != Path::new(".") {
        format!("cd {shown} && ")
    } else {
        String::new()
    };
    data(&format!(
        "\nIts one host is this machine and its blueprint touches only a folder below /tmp. Next:\n  {enter}holdfast plan\n  holdfast apply\n"
    ));
    Ok(0)
}

fn write(path: &Path, text: &str) -> CliResult<()> {
    let doing = |error: std::io::Error| CliError::doing(format!("write {}", path.display()), &error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(doing)?;
    }
    fs::write(path, text).map_err(doing)
}
