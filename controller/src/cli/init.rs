//! `holdfast init`: a project that can be run at once, on this machine alone, without root.

use crate::cli::args::{Global, InitArgs};
use crate::cli::error::{CliError, CliResult};
use crate::view::terminal::data;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The files of a new project. The host is this machine, so that `plan` and `apply` work before any SSH is set up.
const FILES: [(&str, &str); 5] = [
    ("holdfast.toml", include_str!("scaffold/holdfast.toml")),
    ("inventory.toml", include_str!("scaffold/inventory.toml")),
    ("blueprints/first.toml", include_str!("scaffold/first.toml")),
    ("blueprints/greeting.hbs", include_str!("scaffold/greeting.hbs")),
    (".gitignore", include_str!("scaffold/gitignore")),
];

/// Stands in the scaffold for the folder that the first host keeps, as a TOML string.
const PLACE: &str = "@PLACE@";

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
    let place = place(&folder)?;
    for (name, text) in FILES {
        write(&folder.join(name), &text.replace(PLACE, &place))?;
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
        "\nIts one host is this machine and its blueprint touches only the folder `first` in it. Next:\n  {enter}holdfast plan\n  holdfast apply\n"
    ));
    Ok(0)
}

/// The folder that the first host keeps, below the project: in /tmp whoever makes it first could swap what we work on.
fn place(project: &Path) -> CliResult<String> {
    let doing = |error: std::io::Error| CliError::doing(format!("make {}", project.display()), &error);
    fs::create_dir_all(project).map_err(doing)?;
    let place = project.canonicalize().map_err(doing)?.join("first");
    // The blueprint keeps what lies in it, and no more: who may look into it is not for the umask to say.
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(&place);
    made.map_err(|error| CliError::doing(format!("make {}", place.display()), &error))?;
    match place.to_str() {
        Some(text) if !text.contains(char::is_control) => Ok(toml::Value::from(text).to_string()),
        _ => Err(CliError::hinted(
            format!("{} has bytes in its name that TOML can't hold", place.display()),
            "name another folder: holdfast init fleet",
        )),
    }
}

fn write(path: &Path, text: &str) -> CliResult<()> {
    let doing = |error: std::io::Error| CliError::doing(format!("write {}", path.display()), &error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(doing)?;
    }
    fs::write(path, text).map_err(doing)
}
