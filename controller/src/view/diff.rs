//! Colours a unified diff.

use crate::view::sanitize::visible;
use crate::view::terminal::{DIM, GREEN, RED, paint};

/// Shows a diff, indented, control bytes made visible. Its two header lines are left out: the line above says which
/// resource it is, and with paths that differ from host to host equal changes could not be folded.
pub fn render(diff: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut lines = diff.lines().peekable();
    for header in ["--- ", "+++ "] {
        lines.next_if(|line| line.starts_with(header));
    }
    for line in lines {
        let shown = visible(line.as_bytes());
        let styled = match line.as_bytes().first() {
            Some(b'+') => paint(GREEN, shown),
            Some(b'-') => paint(RED, shown),
            Some(b'@') => paint(DIM, shown),
            _ => shown,
        };
        text.push_str(indent);
        text.push_str(&styled);
        text.push('\n');
    }
    text
}
