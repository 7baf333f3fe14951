//! Makes control bytes visible, so that nothing a host says can steer the terminal (LEGACY S20).

/// Shows host output as text: valid UTF-8 stays, newlines and tabs stay, every other control character becomes
/// `\x1b`-like text, and invalid bytes become `\xNN`.
pub fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => text.push(c),
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

/// Control characters, and the invisible ones that reorder text (Trojan Source).
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// As [`visible`], on one line: newlines and tabs become spaces.
pub fn one_line(text: &str) -> String {
    visible(text.as_bytes()).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_of_a_host_are_made_visible() {
        assert_eq!(visible(b"ok\x1b[2Jx\n"), "ok\\u{1b}[2Jx\n");
        assert_eq!(visible(b"\xff\xe9"), "\\xff\\xe9");
        assert_eq!(visible("naïve\tµ".as_bytes()), "naïve\tµ");
        assert_eq!(one_line("a\nb\u{202e}"), "a b\\u{202e}");
    }
}
