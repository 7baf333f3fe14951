//! `holdfast-agent`: a carrier and a clock on a host.
//!
//! `stdio` speaks the wire protocol over its standard input and output (an SSH exec channel), `daemon` runs the last
//! desired probes on their schedule and spools what changed. It knows no plan and no resource: all it runs is sh that
//! the controller made.

mod daemon;
mod exec;
mod paths;
mod probes;
mod spool;
mod status;
mod stdio;

use paths::Paths;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
holdfast-agent: the host side of Holdfast

usage: holdfast-agent COMMAND [--state-dir DIR]

commands:
  stdio     speak the agent protocol over standard input and output
  daemon    run the kept probes on their schedule, in the foreground
  status    show the spool, the probes and the daemon
  version   show the release

The state folder is /var/lib/holdfast for root, ~/.holdfast/HOST for others.
";

/// Exit code of a usage error, as in BSD's sysexits `EX_USAGE`.
const EXIT_USAGE: u8 = 64;

enum Command {
    Stdio,
    Daemon,
    Status,
    Version,
    Help,
}

fn main() -> ExitCode {
    let (command, state_dir) = match parse(std::env::args_os().skip(1)) {
        Ok(parsed) => parsed,
        Err(wrong) => {
            say(&format!("{wrong}; try `holdfast-agent --help`"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(&command, state_dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, state_dir: Option<PathBuf>) -> Result<(), Box<dyn std::error::Error>> {
    match command {
        Command::Help => print(USAGE)?,
        Command::Version => print(concat!("holdfast-agent ", env!("CARGO_PKG_VERSION"), "\n"))?,
        Command::Status => print(&status::text(&Paths::new(state_dir)?)?)?,
        Command::Stdio => block_on(stdio::run(Paths::new(state_dir)?))??,
        Command::Daemon => block_on(daemon::run(Paths::new(state_dir)?))??,
    }
    Ok(())
}

/// Runs on one thread: the agent waits nearly always, and a second thread's stack would be a third of its memory.
fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    // A read of standard input can't be cancelled; waiting for it would keep a dead connection's process.
    runtime.shutdown_background();
    Ok(result)
}

fn parse(arguments: impl Iterator<Item = std::ffi::OsString>) -> Result<(Command, Option<PathBuf>), String> {
    let mut command = None;
    let mut state_dir = None;
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let found = match text.as_ref() {
            "--state-dir" => {
                let value = arguments.next().ok_or("--state-dir needs a folder")?;
                state_dir = Some(PathBuf::from(value));
                continue;
            }
            "stdio" => Command::Stdio,
            "daemon" => Command::Daemon,
            "status" => Command::Status,
            "version" | "--version" | "-V" => Command::Version,
            "help" | "--help" | "-h" => Command::Help,
            other => {
                if let Some(value) = other.strip_prefix("--state-dir=") {
                    state_dir = Some(PathBuf::from(value));
                    continue;
                }
                return Err(format!("unknown argument `{other}`"));
            }
        };
        if command.replace(found).is_some() {
            return Err(format!("`{text}` is a second command"));
        }
    }
    if state_dir
        .as_ref()
        .is_some_and(|dir| !dir.is_absolute() && !dir.starts_with("~"))
    {
        return Err("--state-dir must be an absolute path or begin with ~/".to_owned());
    }
    Ok((command.ok_or("no command given")?, state_dir))
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Tells people something on standard error. If nobody listens, nothing can be done about it.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "holdfast-agent: {text}");
}

/// Writes an error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<(Command, Option<PathBuf>), String> {
        parse(words.iter().map(std::ffi::OsString::from))
    }

    #[test]
    fn arguments_are_taken_in_any_order_and_mistakes_are_named() {
        let (command, state_dir) = parse_words(&["--state-dir", "/s", "daemon"]).expect("a command");
        assert!(matches!(command, Command::Daemon));
        assert_eq!(state_dir, Some(PathBuf::from("/s")));
        assert!(parse_words(&["stdio", "--state-dir=/s"]).is_ok());
        for (words, part) in [
            (&["stdio", "daemon"][..], "second command"),
            (&["stdio", "--state-dir"], "needs a folder"),
            (&["stdio", "--state-dir", "x"], "absolute"),
            (&["stdoi"], "`stdoi`"),
            (&[], "no command"),
        ] {
            let wrong = parse_words(words).err().expect("a mistake");
            assert!(wrong.contains(part), "{wrong}");
        }
    }
}
