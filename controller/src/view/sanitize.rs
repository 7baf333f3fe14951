//! Makes control bytes visible, so that nothing a host says can steer the terminal (LEGACY S20).
//!
//! Two lines of defence. What is known to come from outside is cleaned where it is put into a text ([`visible`],
//! [`one_line`], [`Untrusted`]). And everything that this program writes passes [`screen`] on its way out, which lets
//! through our own styles and nothing else that a terminal would obey: a view that forgets to clean does no harm, and
//! JSON stays JSON.

use std::borrow::Cow;
use std::fmt;

/// Text from a host, a file or another user. It can be shown in one way only: clean, on one line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Untrusted<'t>(pub &'t str);

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&one_line(self.0))
    }
}

impl fmt::Debug for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", one_line(self.0))
    }
}

/// Shows host output as text: valid UTF-8 stays, newlines and tabs stay, every other control character becomes
/// `\x1b`-like text, and invalid bytes become `\xNN`.
pub fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => text.push(c),
                // The letters that stand for bytes which are no UTF-8, in what a host reported.
                '\u{10ff80}'..='\u{10ffff}' => text.push_str(&format!("\\x{:02x}", u32::from(c) & 0xff)),
                c if is_hidden(c) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Control characters, and the invisible ones that reorder, join or hide text (Trojan Source).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// As [`visible`], on one line: newlines and tabs become spaces.
pub fn one_line(text: &str) -> String {
    visible(text.as_bytes()).replace(['\n', '\t'], " ")
}

/// Makes a finished text fit for a terminal: newlines, tabs and our styles stay, and every other control or invisible
/// character becomes `\u009b`, as JSON writes it. So a JSON document stays the same document.
pub fn screen(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hidden(c) && !matches!(c, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (taken, after) = rest.split_at(style_bytes(rest).unwrap_or(c.len_utf8()));
        rest = after;
        if taken.len() > 1 && c == '\u{1b}' || !is_hidden(c) || matches!(c, '\n' | '\t') {
            clean.push_str(taken);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                clean.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Cow::Owned(clean)
}

/// The longest style: bold, underlined, with a colour of 24 bits for letters and ground.
const STYLE_BYTES_MAX: usize = 48;

/// Finds how long the style is that a text begins with: `ESC [ numbers m`, but none that conceals.
fn style_bytes(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let end = inner.bytes().take(STYLE_BYTES_MAX).position(|byte| byte == b'm')?;
    let numbers: Vec<&str> = inner.get(..end)?.split(';').collect();
    let is_number = |number: &&str| number.bytes().all(|byte| byte.is_ascii_digit());
    // 8 conceals, unless it is the number of a colour.
    let conceals = numbers
        .iter()
        .enumerate()
        .any(|(at, number)| number.trim_start_matches('0') == "8" && (at < 2 || numbers[at - 1] != "5"));
    (numbers.iter().all(is_number) && !conceals).then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::terminal::{BOLD, RED, paint};
    use proptest::prelude::*;

    #[test]
    fn control_bytes_of_a_host_are_made_visible() {
        assert_eq!(visible(b"ok\x1b[2Jx\n"), "ok\\u{1b}[2Jx\n");
        assert_eq!(visible(b"\xff\xe9"), "\\xff\\xe9");
        assert_eq!(visible("caf\u{10ffe9}".as_bytes()), "caf\\xe9");
        assert_eq!(visible("naïve\tµ".as_bytes()), "naïve\tµ");
        assert_eq!(one_line("a\nb\u{202e}"), "a b\\u{202e}");
        assert_eq!(format!("{:<6}|", Untrusted("a\x07")), "a\\u{7}|");
        assert_eq!(format!("{:<6}|", Untrusted("a")), "a     |");
        assert_eq!(format!("{:?}", Untrusted("a\x1b[2J")), "\"a\\\\u{1b}[2J\"");
    }

    // REVIEW D3
    #[test]
    fn of_all_that_a_terminal_obeys_only_our_styles_pass() {
        let ours = format!("{} {}\n\t", paint(BOLD, "web01"), paint(RED.bold(), "failed"));
        assert_eq!(screen(&ours), ours);
        for hostile in [
            "\u{1b}[2J",
            "\u{1b}]0;title\u{7}",
            "\u{1b}]52;c;aGk=\u{7}",
            "\u{1b}[8m",
            "\u{1b}[0;08m",
            "\u{9b}31m",
            "\u{9d}0;x\u{9c}",
            "\r",
            "\u{8}",
            "\u{202e}",
            "\u{2028}",
            "\u{feff}",
            "\u{e0041}",
            "\u{1b}",
            "\u{1b}[",
            "\u{1b}[31",
            "\u{7f}",
        ] {
            let shown = screen(hostile);
            assert!(!shown.chars().any(is_hidden), "{hostile:?} became {shown:?}");
        }
        assert_eq!(screen("a\u{1b}[2Jb\u{e0041}"), "a\\u001b[2Jb\\udb40\\udc41");
        assert_eq!(screen("\u{1b}[38;5;8mgrey\u{1b}[0m"), "\u{1b}[38;5;8mgrey\u{1b}[0m");
    }

    proptest! {
        // REVIEW D3
        #[test]
        fn a_json_document_stays_the_same_document(text in any::<String>(), odd in "[\u{7f}-\u{9f}\u{200b}-\u{206f}\u{feff}\u{e0000}-\u{e007f}\u{1b}\u{7}]{0,8}") {
            let value = serde_json::json!({ &text: [&odd, &text] });
            let written = value.to_string();
            let shown = screen(&written);
            prop_assert!(!shown.chars().any(is_hidden));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("json"), value);
        }
    }
}
