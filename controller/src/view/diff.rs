//! Colours a unified diff.

use crate::view::sanitize::visible;
use crate::view::terminal::{DIM, GREEN, RED, paint};

/// Shows a diff, indented, control bytes made visible. Its two header lines are left out: the line above says which
/// resource it is, and with paths that differ from host to host equal changes could not be folded.
pub fn render(diff: &str, indent: &str) -> String {
    let mut text = String::new();
    // Not `lines()`: it would take the CR away, which may be the whole difference.
    let mut lines = diff.split_terminator('\n').peekable();
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

#[cfg(test)]
mod tests {
    use super::*;

    // REVIEW U5
    #[test]
    fn a_difference_of_line_ends_alone_is_seen() {
        let text = render("--- a\n+++ b\n@@ -1 +1 @@\n-key = 1\r\n+key = 1\n", "");
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "@@ -1 +1 @@\n-key = 1\\r\n+key = 1\n");
    }
}
