//! Colours a unified diff.

use crate::view::sanitize::visible;
use crate::view::terminal::{DIM, GREEN, RED, paint};

/// Shows a diff, indented, control bytes made visible.
pub fn render(diff: &str, indent: &str) -> String {
    let mut text = String::new();
    for line in diff.lines() {
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
