//! `holdfast demo`: SSH hosts inside this process, each with its own folder, for a walk through every command.
//!
//! The hosts are small, but all else is the real path: real SSH, the real runner under `/bin/sh`, the real store.

pub mod project;
pub mod server;

use crate::cancel::Cancel;
use crate::cli::args::{Cli, DemoArgs, Global};
use crate::cli::dispatch;
use crate::cli::error::{CliError, CliResult};
use crate::view::terminal::{BOLD, DIM, data_line, note, paint};
use clap::Parser;
use project::DemoProject;
use server::{DemoHosts, DemoKey};
use std::path::{Path, PathBuf};

/// Runs the command.
pub async fn run(global: &Global, args: &DemoArgs) -> CliResult<i32> {
    crate::fleet::raise_descriptor_limit();
    let folder = folder(args.folder.as_deref())?;
    let doing = |error: std::io::Error| CliError::doing("start the demo's hosts", &error);
    let key = DemoKey::create(&folder.join("demo_key")).map_err(doing)?;
    let names: Vec<String> = (1..=args.hosts)
        .map(|number| format!("demo{number:0width$}", width = width(args.hosts)))
        .collect();
    let hosts = DemoHosts::start(&folder.join("hosts"), &names, &key.public)
        .await
        .map_err(doing)?;
    let project = DemoProject::write(&folder, &key, &hosts.hosts)?;

    note(&format!(
        "{} SSH host{} on loopback, each in a folder of its own, and a project for them in {}",
        names.len(),
        if names.len() == 1 { "" } else { "s" },
        project.root.display()
    ));
    let walk = Walk {
        root: &project.root,
        verbose: global.verbose,
        cancel: &global.cancel,
    };
    walk.through(&project, &hosts).await?;

    let shown = project.root.display();
    heading("That was Holdfast");
    if args.keep {
        data_line(&format!(
            "The hosts stay up until Ctrl-C. In another terminal:\n  cd {shown}\n  holdfast run all -- 'cat etc/motd'\n  holdfast machines\n  holdfast runs\nThen change a file under {}/hosts and try `holdfast drift`.",
            folder.display()
        ));
        let _heeding = global.cancel.heed();
        global.cancel.stopped().await;
        note(&format!("The demo's hosts are gone; the project stays in {shown}."));
    } else {
        data_line(&format!(
            "The hosts are gone now; the project stays in {shown}.\nNext:\n  holdfast demo --keep       the same, and the hosts stay up for your own commands\n  holdfast init fleet        a project of your own, which begins with this machine\n  holdfast --help            everything else"
        ));
    }
    Ok(0)
}

/// Digits of the hosts' numbers, so that their names sort and fold.
fn width(hosts: u16) -> usize {
    hosts.to_string().len().max(2)
}

fn folder(named: Option<&Path>) -> CliResult<PathBuf> {
    let doing = |error: std::io::Error| CliError::doing("make the demo's folder", &error);
    let folder = match named {
        Some(folder) => {
            if folder.join(crate::config::PROJECT_FILE).exists() || folder.join("project").exists() {
                return Err(CliError::hinted(
                    format!("{} already holds a project", folder.display()),
                    "name a new folder: holdfast demo --folder DIR",
                ));
            }
            std::fs::create_dir_all(folder).map_err(doing)?;
            folder.to_path_buf()
        }
        None => tempfile::Builder::new()
            .prefix("holdfast-demo-")
            .tempdir()
            .map_err(doing)?
            .keep(),
    };
    folder.canonicalize().map_err(doing)
}

fn heading(text: &str) {
    data_line(&format!("\n{}", paint(BOLD, format!("== {text}"))));
}

/// The walk: each command is run as if it had been typed, and its exit code is checked.
struct Walk<'a> {
    root: &'a Path,
    verbose: u8,
    cancel: &'a Cancel,
}

impl Walk<'_> {
    async fn through(&self, project: &DemoProject, hosts: &DemoHosts) -> CliResult<()> {
        heading("Who there is");
        self.run(&["hosts"], 0).await?;
        heading("What would change (nothing is written on any host)");
        self.run(&["plan", "--detailed-exitcode"], 2).await?;
        heading("Change it");
        self.run(&["apply", "-y"], 0).await?;
        heading("A second plan has nothing to do");
        self.run(&["plan", "--detailed-exitcode"], 0).await?;

        let victim = hosts.hosts.last().expect("at least one host");
        heading(&format!("Somebody changes a file on {} by hand", victim.name));
        let file = victim.root.join("etc/motd");
        std::fs::write(&file, "Maintenance tonight, ask Sam.\n")
            .map_err(|error| CliError::doing("change a file", &error))?;
        data_line(&paint(DIM, format!("({} was overwritten)", file.display())));
        self.run(&["drift", "--detailed-exitcode"], 2).await?;
        heading("Apply mends only that");
        self.run(&["apply", "-y"], 0).await?;

        heading("A resource leaves the blueprint");
        project.drop_line()?;
        data_line(&paint(DIM, "(line.ntp was deleted from blueprints/base.toml)"));
        self.run(&["apply", "-y"], 0).await?;
        heading("And an ad-hoc command, its equal outputs folded");
        self.run(&["run", "all", "--", "cat etc/motd | wc -l; ls etc"], 0)
            .await?;
        Ok(())
    }

    async fn run(&self, words: &[&str], expected: i32) -> CliResult<()> {
        data_line(&paint(BOLD, format!("$ holdfast {}", shown(words))));
        let directory = self.root.to_string_lossy();
        let mut arguments = vec!["holdfast", "-C", &directory];
        let loud = format!("-{}", "v".repeat(usize::from(self.verbose)));
        if self.verbose > 0 {
            arguments.push(&loud);
        }
        arguments.extend(words);
        // The demo's own stdin is not for the hosts.
        if words[0] == "run" {
            arguments.insert(arguments.len() - words.len() + 1, "--no-input");
        }
        let mut cli = Cli::try_parse_from(arguments).expect("the demo's own commands are right");
        cli.global.cancel = self.cancel.clone();
        let code = Box::pin(dispatch(&cli)).await;
        if self.cancel.is_stopped() {
            self.cancel.cut_short();
            if let Err(error) = code {
                error.print();
            }
            return Err(CliError::new("interrupted; the demo's hosts are gone"));
        }
        let code = code?;
        if code == expected {
            return Ok(());
        }
        Err(CliError::hinted(
            format!(
                "`holdfast {}` ended with {code} where the demo expects {expected}",
                shown(words)
            ),
            format!("look around with: holdfast -C {directory} runs"),
        ))
    }
}

/// The words as one would type them.
fn shown(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| {
            if word.contains([' ', ';', '|']) {
                format!("'{word}'")
            } else {
                (*word).to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}
