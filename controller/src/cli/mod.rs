//! The command line: a file per command. Arguments are parsed in `args`, errors printed once, here.

pub mod agent;
pub mod apply;
pub mod args;
pub mod carry_out;
pub mod collect;
pub mod drift;
pub mod error;
pub mod explain;
pub mod facts;
pub mod hosts;
pub mod init;
pub mod input;
pub mod machines;
pub mod plan;
pub mod planning;
pub mod recorded;
pub mod resolve;
pub mod run;
pub mod runs;
pub mod saved_plan;
pub mod store;
mod typed;
pub mod unlock;
pub mod validate;

use crate::cancel::Cancel;
use crate::fleet::{Fleet, raise_descriptor_limit};
use crate::load::{Project, home};
use crate::store::Store;
use crate::transport::Context;
use crate::view::terminal::{DIM, Log, note, paint};
use args::{Cli, Command, Global};
use clap::{CommandFactory, FromArgMatches};
use error::{CliError, CliResult};
use secrecy::SecretString;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use typed::typed;

/// Parses the arguments, runs the command and gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let understood = Cli::command().try_get_matches_from(arguments);
    let parsed = understood.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let mut cli = match parsed {
        Ok((cli, matches)) => {
            typed::keep(&matches);
            cli
        }
        Err(error) => {
            let _ = error.print();
            // Asked-for help is no error; wrong usage is one of ours (1), since 2 means that a host failed.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    log(cli.global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            CliError::doing("start", &error).print();
            return ExitCode::from(1);
        }
    };
    let code = runtime.block_on(async {
        cli.global.cancel = Cancel::listen();
        let code = run(&cli).await;
        cli.global.cancel.exit_code().unwrap_or(code)
    });
    // What still waits for a host must not keep the program from ending.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn run(cli: &Cli) -> u8 {
    match dispatch(cli).await {
        Ok(code) => u8::try_from(code).unwrap_or(1),
        Err(error) => {
            error.print();
            1
        }
    }
}

/// Runs one command and closes what it opened; the demo runs others through it.
pub async fn dispatch(cli: &Cli) -> CliResult<i32> {
    let code = carry_out_command(cli).await;
    cli.global.opened.close().await;
    code
}

async fn carry_out_command(cli: &Cli) -> CliResult<i32> {
    let global = &cli.global;
    refuse_idle_flags(global, &cli.command)?;
    match &cli.command {
        Command::Init(args) => init::run(global, args),
        Command::Validate => validate::run(global),
        Command::Hosts(args) => hosts::run(global, args),
        Command::Facts(args) => facts::run(global, args).await,
        Command::Plan(args) => plan::run(global, args).await,
        Command::Apply(args) => apply::run(global, args).await,
        Command::Drift(args) => drift::run(global, args).await,
        Command::Run(args) => run::run(global, args).await,
        Command::Resolve(args) => resolve::run(global, args).await,
        Command::Unlock(args) => unlock::run(global, args).await,
        Command::Collect(args) => collect::run(global, args).await,
        Command::Agent(command) => agent::run(global, command).await,
        Command::Machines(args) => machines::run(global, args).await,
        Command::Runs(args) => runs::run(global, args).await,
        Command::Store(command) => store::run(global, command).await,
        Command::Demo(args) => crate::demo::run(global, args).await,
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "holdfast", &mut script);
            if args.shell == clap_complete::Shell::Bash {
                script.extend(include_bytes!("complete_hosts.bash"));
            }
            crate::view::terminal::data(&String::from_utf8_lossy(&script));
            Ok(0)
        }
    }
}

/// Some commands have no project and no hosts. A flag that would do nothing there is refused rather than swallowed:
/// who gives `-l` relies on it.
fn refuse_idle_flags(global: &Global, command: &Command) -> CliResult<()> {
    let (name, has_folder) = match command {
        Command::Init(_) => ("init", true),
        Command::Store(_) => ("store", true),
        Command::Demo(_) => ("demo", false),
        Command::Completions(_) => ("completions", false),
        _ => return Ok(()),
    };
    let idle = [
        ("--directory", global.directory.is_some() && !has_folder),
        ("--inventory", !global.inventory.is_empty()),
        ("--limit", global.limit.is_some()),
        ("--extra-var", !global.extra.is_empty()),
        ("--user", global.user.is_some()),
        ("--become", global.become_root),
        ("--json", global.json),
    ];
    match idle.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(CliError::hinted(
            format!("{flag} does nothing for `holdfast {name}`"),
            format!("leave it out; holdfast {name} --help shows what it takes"),
        )),
    }
}

/// The program's own log goes to stderr: `-vv` and `-vvv`, or `HOLDFAST_LOG` as tracing's filter.
fn log(verbose: u8) {
    let filter = match verbose {
        0 | 1 => "error,russh=off",
        2 => "info,russh=warn",
        _ => "debug,russh=info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("HOLDFAST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(filter))
        // It logs every value of every template.
        .add_directive("handlebars=off".parse().expect("a directive"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Log)
        .try_init();
}

/// Opens the project's store.
async fn open_store(project: &Project) -> CliResult<Store> {
    let store = Store::open(project.store_path())
        .await
        .map_err(|error| store_error(&error))?;
    project.opened.keep(&store);
    Ok(store)
}

/// Says that the store failed.
fn store_error(error: &crate::store::StoreError) -> CliError {
    CliError::new(error::chain(error))
}

/// Sets connections up as the project and this machine have it.
fn fleet(project: &Project, global: &Global) -> Fleet {
    let context = Context::for_project(
        &project.root,
        home(),
        std::env::var_os("SSH_AUTH_SOCK").map(Into::into),
        Arc::new(|name| std::env::var(name).ok().map(SecretString::from)),
    );
    let wanted = project.forks(global);
    let room = raise_descriptor_limit();
    if room < wanted {
        note(&format!(
            "holdfast: {wanted} hosts at a time need more open files than the system allows; working on {room}"
        ));
    }
    // Of another inventory than the project's own a name that is missing says nothing.
    let own = project.inventory.hosts().iter().filter(|_| global.inventory.is_empty());
    let names = own.map(|host| host.name.clone());
    Fleet::new(context, wanted.min(room))
        .heeding(global.cancel.clone())
        .knowing(names.collect())
}

/// With `-v`: what went over the network, and what this program took.
fn tell_traffic(global: &Global, fleet: &Fleet, forks_on_hosts: Option<u64>) {
    if global.verbose == 0 {
        return;
    }
    let traffic = fleet.traffic();
    let forks = forks_on_hosts.map_or(String::new(), |forks| {
        format!(", {forks} processes made on the hosts (all of theirs, not only ours)")
    });
    note(&paint(
        DIM,
        format!(
            "traffic: {} connections, {} execs, {} round trips, {} KiB out, {} KiB in{forks}",
            traffic.connections,
            traffic.execs,
            traffic.round_trips,
            traffic.bytes_out.div_ceil(1024),
            traffic.bytes_in.div_ceil(1024),
        ),
    ));
    if let Some(peak) = peak_memory_kib() {
        note(&paint(
            DIM,
            format!(
                "memory: {} MiB resident at most; {} hosts at a time",
                peak / 1024,
                fleet.forks()
            ),
        ));
    }
}

/// The largest resident size of this process so far, in KiB; `None` where `/proc` can't tell.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}
