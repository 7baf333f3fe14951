//! Ranges of names: `web[01-20]` stands for twenty names, and many names are shown as one range.
//!
//! [`expand`] and [`fold`] are inverses as sets. The notation and its zero padding are those of ClusterShell's
//! `nodeset`. This module knows names as text only, and no inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How many names one range may stand for: far above any fleet one controller serves, and low enough that a typo
/// such as `web[1-999999999]` costs neither memory nor time.
pub const NAMES_MAX: usize = 65_536;

/// How many bytes all names of one range may have together: [`NAMES_MAX`] names as long as a host name may be, 63
/// letters. What is longer is refused before it is built, not when a host of that name is.
pub const NAMES_BYTES_MAX: usize = NAMES_MAX * 64;

/// How many digits a number in a name may have: what fits 64 bits. A longer run of digits is text.
const DIGITS_MAX: usize = 18;

/// A range that can't be read, with the bytes of the text it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct RangeError {
    /// The bytes meant.
    pub span: Range<usize>,
    /// What is wrong.
    pub kind: RangeErrorKind,
}

/// What is wrong with a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeErrorKind {
    /// A `[` without its `]`.
    #[error("`[` is never closed")]
    Unclosed,
    /// A `]` without its `[`.
    #[error("`]` closes nothing")]
    Unopened,
    /// `a[1-2][3-4]`, which could name one host in two ways.
    #[error("two ranges touch each other")]
    Adjacent,
    /// `[]` or `[1,]`.
    #[error("the range is empty")]
    Empty,
    /// Something that is no number.
    #[error("`{0}` is not a number")]
    NotANumber(String),
    /// A number with too many digits.
    #[error("`{0}` has more than {DIGITS_MAX} digits")]
    TooLong(String),
    /// `[3-1]`.
    #[error("the range runs backwards")]
    Backwards,
    /// `[01-100]`: nobody can tell how `2` is padded.
    #[error("the ends of the range are padded to different lengths")]
    Padding,
    /// `[0-10/2]`.
    #[error("a range with steps is not built yet")]
    Step,
    /// `[0:2]`, which Ansible reads as positions.
    #[error("`:` can't stand in a range")]
    Colon,
    /// Names of more than [`NAMES_BYTES_MAX`] bytes in all.
    #[error("the names of the range have more than {NAMES_BYTES_MAX} bytes in all")]
    TooLongNames,
    /// More than [`NAMES_MAX`] names.
    #[error("the range stands for more than {NAMES_MAX} names")]
    TooMany,
}

impl RangeErrorKind {
    /// Says what to do, where that is not plain from the message.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            RangeErrorKind::Unclosed | RangeErrorKind::Unopened | RangeErrorKind::Empty => {
                Some("write a range as `web[01-20]` or `web[1-3,7]`")
            }
            RangeErrorKind::NotANumber(_) | RangeErrorKind::Colon => Some("write numbers, as in `web[1-3,7]`"),
            RangeErrorKind::Adjacent => Some("put text between them, as in `rack[1-2]-node[1-3]`"),
            RangeErrorKind::Backwards => Some("put the smaller number first"),
            RangeErrorKind::Padding => {
                Some("write both ends with as many digits: `[001-100]`, or no padding: `[1-100]`")
            }
            RangeErrorKind::Step => Some("list the numbers: `[0,2,4]`"),
            RangeErrorKind::TooMany | RangeErrorKind::TooLong(_) | RangeErrorKind::TooLongNames => None,
        }
    }
}

/// Tells whether a word contains a range.
pub fn is_range(word: &str) -> bool {
    word.contains(['[', ']'])
}

/// Gives the names that a word stands for, in the order written, each once.
///
/// # Errors
/// When a bracket can't be read, or the word stands for more than [`NAMES_MAX`] names.
pub fn expand(word: &str) -> Result<Vec<String>, RangeError> {
    let mut names = vec![String::new()];
    let mut rest = 0;
    while let Some(open) = word[rest..].find(['[', ']']).map(|found| rest + found) {
        let error = |span, kind| RangeError { span, kind };
        if word[open..].starts_with(']') {
            return Err(error(open..open + 1, RangeErrorKind::Unopened));
        }
        if rest > 0 && open == rest {
            return Err(error(open..open + 1, RangeErrorKind::Adjacent));
        }
        let text = &word[rest..open];
        let inside = open + 1;
        let close = match word[inside..].find(['[', ']']).map(|found| inside + found) {
            Some(close) if word[close..].starts_with(']') => close,
            _ => return Err(error(open..open + 1, RangeErrorKind::Unclosed)),
        };
        let numbers = numbers_of(&word[inside..close], inside)?;
        if names.len().saturating_mul(numbers.len()) > NAMES_MAX {
            return Err(error(open..close + 1, RangeErrorKind::TooMany));
        }
        // Each name is written once with each number, and what follows the last bracket to all of them.
        let written = text.len() * names.len() + names.iter().map(String::len).sum::<usize>();
        let bytes = written * numbers.len() + names.len() * numbers.iter().map(String::len).sum::<usize>();
        let rest_bytes = (word.len() - close) * names.len() * numbers.len();
        if bytes + rest_bytes > NAMES_BYTES_MAX {
            return Err(error(open..close + 1, RangeErrorKind::TooLongNames));
        }
        names = names
            .iter()
            .flat_map(|name| numbers.iter().map(move |number| format!("{name}{text}{number}")))
            .collect();
        rest = close + 1;
    }
    for name in &mut names {
        name.push_str(&word[rest..]);
    }
    Ok(names)
}

/// Reads what stands between brackets; `offset` is its place in the word.
fn numbers_of(list: &str, offset: usize) -> Result<Vec<String>, RangeError> {
    let mut numbers = Vec::new();
    let mut seen = BTreeSet::new();
    let mut start = offset;
    for part in list.split(',') {
        let span = start..start + part.len();
        start = span.end + 1;
        let error = |kind| RangeError {
            span: span.clone(),
            kind,
        };
        if part.is_empty() {
            // An empty part has no bytes of its own: mark the bracket or comma after it.
            let kind = RangeErrorKind::Empty;
            return Err(RangeError {
                span: span.start..span.start + 1,
                kind,
            });
        }
        if part.contains('/') {
            return Err(error(RangeErrorKind::Step));
        }
        if part.contains(':') {
            return Err(error(RangeErrorKind::Colon));
        }
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let first = number(low).map_err(error)?;
        let last = number(high).map_err(error)?;
        if low.len() != high.len() && (is_padded(low) || is_padded(high)) {
            return Err(error(RangeErrorKind::Padding));
        }
        if first > last {
            return Err(error(RangeErrorKind::Backwards));
        }
        if last - first >= NAMES_MAX as u64 || numbers.len() as u64 + (last - first) >= NAMES_MAX as u64 {
            return Err(error(RangeErrorKind::TooMany));
        }
        let width = if is_padded(low) { low.len() } else { 1 };
        for value in first..=last {
            let text = format!("{value:0width$}");
            if seen.insert(text.clone()) {
                numbers.push(text);
            }
        }
    }
    Ok(numbers)
}

fn number(text: &str) -> Result<u64, RangeErrorKind> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RangeErrorKind::NotANumber(text.to_owned()));
    }
    if text.len() > DIGITS_MAX {
        return Err(RangeErrorKind::TooLong(text.to_owned()));
    }
    Ok(text.parse().expect("eighteen digits fit 64 bits"))
}

fn is_padded(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0')
}

/// A number of a name: its digits count too, because `01` and `1` are two names. Ordered as `nodeset` orders:
/// the shorter first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    digits: usize,
    value: u64,
}

impl Number {
    fn is_padded(self) -> bool {
        self.digits > 1 && self.value < 10_u64.pow(self.digits as u32 - 1)
    }
}

/// The numbers that may stand at one place of a name.
type Numbers = BTreeSet<Number>;

/// Shows many names as few words, joined by commas: `db1,web[01-37]`.
///
/// Names that differ in one number become one range; names that differ in more (`rack[1-2]-node[1-3]`) become one
/// word where the numbers form a full rectangle, and several where not. The order given and repetitions don't matter.
pub fn fold<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let mut by_text: BTreeMap<Vec<String>, BTreeSet<Vec<Number>>> = BTreeMap::new();
    for name in names {
        let (texts, numbers) = take_apart(name.as_ref());
        by_text.entry(texts).or_default().insert(numbers);
    }
    let mut words = Vec::new();
    for (texts, tuples) in by_text {
        for places in boxes_of(&tuples) {
            words.push(word_of(&texts, &places));
        }
    }
    words.join(",")
}

/// Splits `rack1-node02` into the texts `rack`, `-node` and `` and the numbers between them.
fn take_apart(name: &str) -> (Vec<String>, Vec<Number>) {
    let mut texts = vec![String::new()];
    let mut numbers = Vec::new();
    let mut rest = name;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let length = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = rest[start..].split_at(length);
        let text = texts.last_mut().expect("there is always one text");
        text.push_str(&rest[..start]);
        if length <= DIGITS_MAX {
            numbers.push(Number {
                digits: length,
                value: digits.parse().expect("eighteen digits fit 64 bits"),
            });
            texts.push(String::new());
        } else {
            text.push_str(digits);
        }
        rest = after;
    }
    texts.last_mut().expect("there is always one text").push_str(rest);
    (texts, numbers)
}

/// Covers tuples of numbers with boxes: at each place, from the last to the first, joins the boxes that are alike
/// at all other places. Greedy: exact for one place and for full rectangles, short enough for the rest.
fn boxes_of(tuples: &BTreeSet<Vec<Number>>) -> BTreeSet<Vec<Numbers>> {
    let mut boxes: BTreeSet<Vec<Numbers>> = tuples
        .iter()
        .map(|tuple| tuple.iter().map(|number| Numbers::from([*number])).collect())
        .collect();
    let places = tuples.first().map_or(0, Vec::len);
    for place in (0..places).rev() {
        let mut joined: BTreeMap<Vec<Numbers>, Numbers> = BTreeMap::new();
        for mut one in boxes {
            let numbers = std::mem::take(&mut one[place]);
            joined.entry(one).or_default().extend(numbers);
        }
        boxes = joined
            .into_iter()
            .map(|(mut one, numbers)| {
                one[place] = numbers;
                one
            })
            .collect();
    }
    boxes
}

fn word_of(texts: &[String], places: &[Numbers]) -> String {
    let mut word = texts[0].clone();
    for (numbers, text) in places.iter().zip(&texts[1..]) {
        word.push_str(&list_of(numbers));
        word.push_str(text);
    }
    word
}

/// Writes `7`, `[1-3,7]` or `[1-2,01-02]`.
fn list_of(numbers: &Numbers) -> String {
    let mut runs: Vec<(Number, Number)> = Vec::new();
    for &next in numbers {
        match runs.last_mut() {
            Some((first, last)) if continues(*first, *last, next) => *last = next,
            _ => runs.push((next, next)),
        }
    }
    let show = |number: Number| format!("{:0width$}", number.value, width = number.digits);
    let parts: Vec<String> = runs
        .iter()
        .map(|(first, last)| {
            if first == last {
                show(*first)
            } else {
                format!("{}-{}", show(*first), show(*last))
            }
        })
        .collect();
    if numbers.len() == 1 {
        parts.concat()
    } else {
        format!("[{}]", parts.join(","))
    }
}

/// A run goes on with the next value if it has as many digits, or if neither end is padded (`98-101`).
fn continues(first: Number, last: Number, next: Number) -> bool {
    next.value == last.value + 1 && (next.digits == first.digits || !first.is_padded() && !next.is_padded())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // REVIEW C13
    #[test]
    fn a_range_whose_names_would_fill_the_memory_is_refused_before_they_are_built() {
        // 65,536 names of a megabyte each: 64 GiB.
        for word in [
            format!("{}[1-65536]", "a".repeat(1_000_000)),
            format!("[1-65536]{}", "a".repeat(1_000_000)),
            format!("x[1-256]{}[1-256]", "a".repeat(1_000_000)),
        ] {
            let error = expand(&word).expect_err("too long");
            assert_eq!(error.kind, RangeErrorKind::TooLongNames);
        }
        // The longest names that hosts may have, as many as there may be.
        let longest = format!("{}[10000-75535]", "a".repeat(58));
        assert_eq!(expand(&longest).expect("within the limits").len(), NAMES_MAX);
    }

    #[test]
    fn ranges_expand_as_nodeset_expands_them() {
        // Expected: what `nodeset -e` of ClusterShell 1.10.1 prints.
        for (range, names) in [
            ("web[01-03]", "web01 web02 web03"),
            ("web[1-3,7]", "web1 web2 web3 web7"),
            ("web[08-11]", "web08 web09 web10 web11"),
            ("web[98-101]", "web98 web99 web100 web101"),
            ("web[098-101]", "web098 web099 web100 web101"),
            ("web[1,1]", "web1"),
            (
                "rack[1-2]-node[1-3]",
                "rack1-node1 rack1-node2 rack1-node3 rack2-node1 rack2-node2 rack2-node3",
            ),
        ] {
            assert_eq!(expand(range).expect("a range").join(" "), names, "{range}");
        }
    }

    #[test]
    fn what_nodeset_refuses_is_refused_with_its_place() {
        for (range, kind, marked) in [
            ("web[8-011]", RangeErrorKind::Padding, "8-011"),
            ("web[1-01]", RangeErrorKind::Padding, "1-01"),
            ("web[01-100]", RangeErrorKind::Padding, "01-100"),
            ("web[3-1]", RangeErrorKind::Backwards, "3-1"),
            ("web[]", RangeErrorKind::Empty, "]"),
            ("web[1-]", RangeErrorKind::NotANumber(String::new()), "1-"),
            ("web[a-c]", RangeErrorKind::NotANumber("a".to_owned()), "a-c"),
            ("a[1-2][3-4]", RangeErrorKind::Adjacent, "["),
            ("web[1-3", RangeErrorKind::Unclosed, "["),
            ("web1-3]", RangeErrorKind::Unopened, "]"),
        ] {
            let error = expand(range).expect_err("no range");
            assert_eq!((&error.kind, &range[error.span.clone()]), (&kind, marked), "{range}");
        }
    }

    #[test]
    fn a_range_beyond_the_limit_is_refused_before_it_is_made() {
        for range in [
            "web[1-65537]",
            "web[1-999999999999999999]",
            "a[1-1000]b[1-1000]",
            "w[1-40000,50000-90000]",
        ] {
            assert_eq!(
                expand(range).expect_err("too many").kind,
                RangeErrorKind::TooMany,
                "{range}"
            );
        }
        assert_eq!(expand("web[1-65536]").expect("the limit itself").len(), NAMES_MAX);
        assert!(expand("web[1-9999999999999999999999]").is_err());
    }

    #[test]
    fn names_fold_as_nodeset_folds_them() {
        // Expected: what `nodeset -f` of ClusterShell 1.10.1 prints.
        for (names, folded) in [
            ("web1 db1 web2", "db1,web[1-2]"),
            ("web01 web1 web2 web02", "web[1-2,01-02]"),
            ("web9 web10 web11", "web[9-11]"),
            ("web09 web10 web11", "web[09-11]"),
            ("web99 web100", "web[99-100]"),
            ("web099 web100 web98", "web[98,099-100]"),
            ("web000 web00 web0", "web[0,00,000]"),
            ("rack1-node1 rack1-node2 rack2-node1", "rack1-node[1-2],rack2-node1"),
            ("10.0.0.1 10.0.0.2 10.0.0.3", "10.0.0.[1-3]"),
            ("ip-10-0-0-7 ip-10-0-0-8", "ip-10-0-0-[7-8]"),
            ("bastion web1 alpha", "alpha,bastion,web1"),
            ("a1b c2 a2b", "a[1-2]b,c2"),
            (
                "web1.dc1 web2.dc1 web1.dc2 web2.dc2 web3.dc2",
                "web[1-2].dc[1-2],web3.dc2",
            ),
            ("web1 web2 web4 web7 web8", "web[1-2,4,7-8]"),
            ("r1n1 r1n2 r2n1 r2n2 r3n1", "r[1-2]n[1-2],r3n1"),
            ("r1n1 r2n2", "r1n1,r2n2"),
            ("b2 a10 a2 b a", "a,a[2,10],b,b2"),
        ] {
            assert_eq!(fold(names.split(' ')), folded, "{names}");
        }
        let names: Vec<String> = (1..=37).map(|number| format!("web{number:02}")).collect();
        assert_eq!(fold(&names), "web[01-37]");
    }

    /// Expands a fold: words are joined by commas, which stand in brackets too.
    fn unfold(folded: &str) -> BTreeSet<String> {
        let mut depth = 0;
        let words = folded.split(|c| {
            depth += match c {
                '[' => 1,
                ']' => -1,
                _ => 0,
            };
            c == ',' && depth == 0
        });
        words.flat_map(|word| expand(word).expect("a fold expands")).collect()
    }

    proptest! {
        #[test]
        fn expanding_a_fold_gives_back_the_names(
            names in proptest::collection::btree_set("[ab]{0,1}0{0,2}[0-9]{1,3}(-n0?[0-9]{1,2})?(\\.x)?", 1..60)
        ) {
            prop_assert_eq!(unfold(&fold(&names)), names);
        }

        #[test]
        fn folding_an_expanded_range_gives_back_the_range(first in 0_u64..2_000, more in 1_u64..300, pad in 1_usize..6) {
            let range = format!("web[{first:0pad$}-{:0pad$}]", first + more);
            if let Ok(names) = expand(&range) {
                prop_assert_eq!(fold(names), range);
            }
        }

        #[test]
        fn no_text_makes_expand_panic(text in "[a-b0-9\\[\\],/:é-]{0,24}") {
            let _ = expand(&text);
        }
    }
}
