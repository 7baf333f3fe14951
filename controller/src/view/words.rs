//! Small words of messages: numbers with their noun, and arguments as one would type them.

use holdfast_plan::sh::quote;

/// `1 host`, `20 hosts`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A word as it is typed into a shell: in quotes only if it needs them.
pub fn typed(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        quote(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_a_shell_would_read_it_otherwise() {
        assert_eq!(typed("web01"), "web01");
        assert_eq!(typed("web:!web03"), "'web:!web03'");
        assert_eq!(typed("web[01-20]"), "'web[01-20]'");
        assert_eq!(typed(""), "''");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            [0, 1, 2].map(|number| counted(number, "host")),
            ["0 hosts", "1 host", "2 hosts"]
        );
    }
}
