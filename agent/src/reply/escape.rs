//! Attributes as they are written on the wire: in printable ASCII, every other byte as `\\ooo`.
//!
//! Text of the host comes back as it is. Bytes that are no UTF-8 (a Latin-1 name) become letters of their own, U+10FF80 to
//! U+10FFFF, so that nothing is lost and the core can write them back; `holdfast_plan::sh` knows the same letters.

/// What is added to a byte to make the letter that stands for it.
const RAW_BYTES: u32 = 0x10_FF00;

/// Reads a value; what is no escape stands for itself.
pub(super) fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match octal(after).filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    letters(&bytes)
}

/// Reads three octal digits.
fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3)?;
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

fn letters(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut utf8 = [0; 4];
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            // One that would be taken for a byte is told as its own bytes.
            if u32::from(letter) >= RAW_BYTES {
                text.extend(letter.encode_utf8(&mut utf8).bytes().map(letter_of));
            } else {
                text.push(letter);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(letter_of));
    }
    text
}

fn letter_of(byte: u8) -> char {
    char::from_u32(RAW_BYTES + u32::from(byte)).expect("the last letters of Unicode, up to U+10FFFF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_and_other_bytes_have_letters_of_their_own() {
        assert_eq!(unescape("plain"), "plain");
        assert_eq!(unescape("a\\134\\012M\\303\\274ller"), "a\\\nM\u{fc}ller");
        assert_eq!(unescape("caf\\351"), "caf\u{10ffe9}");
        assert_eq!(unescape("\\999 \\777 \\1"), "\\999 \\777 \\1");
        // U+10FFE9 itself, in UTF-8.
        assert_eq!(
            unescape("\\364\\217\\277\\251"),
            "\u{10fff4}\u{10ff8f}\u{10ffbf}\u{10ffa9}"
        );
    }
}
