//! Where words go: stdout is data, stderr is progress and problems. Colours follow `NO_COLOR`, `CLICOLOR_FORCE` and
//! whether the stream is a terminal (anstream decides).

use anstyle::{AnsiColor, Style};
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
    write_or_leave(&mut anstream::stdout(), text);
}

/// Writes a line of data to stdout.
pub fn data_line(text: &str) {
    data(&format!("{text}\n"));
}

/// Writes a line for people to stderr.
pub fn note(text: &str) {
    write_or_leave(&mut anstream::stderr(), &format!("{text}\n"));
}

/// Exit code of a program that a closed pipe ended, as a shell would report it (128 + SIGPIPE).
const CLOSED_PIPE: i32 = 141;

fn write_or_leave(stream: &mut dyn Write, text: &str) {
    if stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).is_err() {
        std::process::exit(CLOSED_PIPE);
    }
}

/// Tells whether a person watches stderr.
pub fn is_interactive() -> bool {
    std::io::stderr().is_terminal()
}

/// Tells whether a person can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for a `yes`; anything else is a no.
pub fn ask(question: &str) -> std::io::Result<bool> {
    let mut stderr = anstream::stderr();
    write!(stderr, "{question} Only 'yes' is accepted: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
