//! Where words go: stdout is data, stderr is progress and problems. Colours follow `NO_COLOR`, `CLICOLOR_FORCE` and
//! whether the stream is a terminal (anstream decides).

use crate::redact;
use crate::view::sanitize::screen;
use anstyle::{AnsiColor, Style};
use holdfast_plan::exit_code::ExitCode;
use std::io::{IsTerminal, Write};

/// Headings.
pub const BOLD: Style = Style::new().bold();
/// What will be or was made.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// What will be or was changed.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// What will be or was removed, and failures.
pub const RED: Style = AnsiColor::Red.on_default();
/// What is beside the point.
pub const DIM: Style = Style::new().dimmed();

/// Wraps a text in a style.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes data to stdout. A closed pipe (`| head`) ends the program quietly, as other tools do.
pub fn data(text: &str) {
    write_or_leave(&mut anstream::stdout(), clean(text).as_bytes(), "stdout");
}

/// Writes a line of data to stdout.
pub fn data_line(text: &str) {
    data(&format!("{text}\n"));
}

/// Writes a line for people to stderr.
pub fn note(text: &str) {
    let line = format!("{}\n", clean(text));
    write_or_leave(&mut anstream::stderr(), line.as_bytes(), "stderr");
}

/// Writes bytes of a host to stdout as they are. Only for streams that are no terminal.
pub fn raw_data(bytes: &[u8]) {
    write_or_leave(&mut std::io::stdout(), bytes, "stdout");
}

/// Writes bytes of a host to stderr as they are. Only for streams that are no terminal.
pub fn raw_note(bytes: &[u8]) {
    write_or_leave(&mut std::io::stderr(), bytes, "stderr");
}

/// What may be printed of a text: no sensitive value, and nothing that a terminal obeys but our styles.
fn clean(text: &str) -> String {
    screen(&redact::text(text)).into_owned()
}

/// Where the program's own log goes: stderr, as clean as all else.
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stderr().write_all(clean(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Exit code of a program that a closed pipe ended, as a shell would report it (128 + SIGPIPE).
const CLOSED_PIPE: i32 = 141;

/// Writes all, or ends the program: who reads it is gone, or it can't be kept, and going on would pretend otherwise.
fn write_or_leave(stream: &mut dyn Write, bytes: &[u8], name: &str) {
    let Err(error) = stream.write_all(bytes).and_then(|()| stream.flush()) else {
        return;
    };
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(CLOSED_PIPE);
    }
    // If it is stderr that fails, there is nobody left to tell.
    let _ = writeln!(
        std::io::stderr(),
        "error: failed to write to {name}: {error}\nhint: what was begun is recorded: holdfast runs"
    );
    std::process::exit(ExitCode::ERROR.0.into());
}

/// Tells whether stdout is a terminal, which bytes of hosts must not reach as they are.
pub fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Tells whether stderr is a terminal.
pub fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Tells whether a person can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for a `yes`; anything else is a no.
pub fn ask(question: &str) -> std::io::Result<bool> {
    let mut stderr = anstream::stderr();
    let question = clean(question);
    write!(stderr, "{question} Only 'yes' is accepted: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
