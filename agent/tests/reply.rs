//! The decoder of replies: whatever the chunks, the same records; whatever the bytes, no panic and no growth.

use holdfast_agent::program::Nonce;
use holdfast_agent::reply::{BLOB_BYTES_MAX, Decoder, LINE_BYTES_MAX, REPLY_BYTES_MAX, Record, ReplyError, RunStart};
use proptest::prelude::*;

const NONCE: [u8; 16] = [0xab; 16];

fn nonce() -> Nonce {
    Nonce::new(NONCE)
}

/// Puts the nonce in place of every `@`.
fn said(text: &str) -> Vec<u8> {
    text.replace('@', nonce().as_str()).into_bytes()
}

fn decode(bytes: &[u8]) -> (Vec<Record>, Option<ReplyError>) {
    let mut decoder = Decoder::new(&nonce());
    match decoder.push(bytes) {
        Ok(records) => (records, decoder.failed().cloned()),
        Err(error) => (Vec::new(), Some(error)),
    }
}

const WHOLE: &str = "Welcome!\nabab\n@ fact os.id debian\n@ have 00ff\n@ ready\n@ attr 3 target /a b\n\
    @ text 3 7\na\n@ b\n\n\n@ job a1 done\n@ begin a1 1\n@ stepattr a1 1 before mode 0644\n\
    @ step a1 1 left 2 sha256:00 it is used\n@ output a1 1 0\n\n@ end a1 completed -\n@ forks 9\n@ done\nbye\n";

#[test]
fn a_reply_is_read_and_noise_is_dropped() {
    // The blob of seven bytes begins after the newline of its line and holds one that looks like ours cut short.
    let bytes = said(&WHOLE.replace("7\na\n@ b\n", "7\na\n\0 \nb\n"));
    let (records, failed) = decode(&bytes);
    assert_eq!(failed, None);
    assert_eq!(records.len(), 13);
    assert_eq!(
        records[3],
        Record::Attr {
            id: 3,
            key: "target".to_owned(),
            value: "/a b".to_owned()
        }
    );
    assert_eq!(
        records[4],
        Record::Text {
            id: 3,
            bytes: b"a\n\0 \nb\n".to_vec()
        }
    );
    assert_eq!(records.last(), Some(&Record::Done));
}

#[test]
fn limits_and_blobs_without_an_end_end_the_reply() {
    let long = said(&format!("@ fact a {}", "x".repeat(LINE_BYTES_MAX)));
    assert_eq!(decode(&long).1, Some(ReplyError::Line));
    let blob = said(&format!("@ text 1 {}\n", BLOB_BYTES_MAX + 1));
    assert!(matches!(decode(&blob).1, Some(ReplyError::Blob { .. })));
    let noise = vec![b'x'; REPLY_BYTES_MAX + 1];
    assert_eq!(decode(&noise).1, Some(ReplyError::Reply));
    for line in ["@ text 1 -1\n", "@ output a x 2\n", "@ output a 1 2\nabc"] {
        assert!(
            matches!(decode(&said(line)).1, Some(ReplyError::Malformed { .. })),
            "{line}"
        );
    }
}

// REVIEW H26
#[test]
fn one_odd_field_takes_nothing_away_from_the_rest_of_a_reply() {
    for odd in [
        "@ what\n",
        "@ epoch -1\n",
        // REVIEW C13: after it there would be no next one.
        "@ epoch 18446744073709551615\n",
        "@ forks many\n",
        "@ attr x mode 0644\n",
        "@ job a1 asleep\n",
        "@ step a1 1 gone 0 - \n",
    ] {
        let (records, failed) = decode(&said(&format!("{odd}@ attr 1 mode 0644\n@ done\n")));
        assert_eq!(failed, None, "{odd}");
        assert!(matches!(records[0], Record::Odd { .. }), "{odd}: {records:?}");
        assert_eq!(records.len(), 3, "{odd}: {records:?}");
    }
    // A clock that went back: the step counts, its time does not.
    let (records, _) = decode(&said("@ step a1 1 changed -3600 - \n"));
    assert!(
        matches!(
            records[..],
            [Record::Step {
                seconds: 0,
                index: 1,
                ..
            }]
        ),
        "{records:?}"
    );
}

#[test]
fn a_reply_without_done_is_not_complete() {
    let mut decoder = Decoder::new(&nonce());
    decoder.push(&said("@ fact a b\n")).expect("it keeps to the protocol");
    assert!(!decoder.is_done());
    decoder.push(&said("@ done\n")).expect("it keeps to the protocol");
    assert!(decoder.is_done());
}

#[test]
fn the_start_of_a_command_is_found_behind_noise() {
    let mut start = RunStart::new(&nonce());
    assert_eq!(start.push(b"motd\nab"), b"");
    assert_eq!(start.push(&said("x @ run\n@ run\nout")), b"out");
    assert_eq!(start.push(&said("@ run\n")), said("@ run\n"));
}

/// Lines and blobs of the protocol, well-formed or not, with noise and bytes between them.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "@ (fact|attr|text|job|begin|stepattr|step|output|end|refused|machine|epoch|forks) [a-z0-9 -]{0,30}\n"
            .prop_map(|text| said(&text)),
        (0_u32..60).prop_map(|length| said(&format!("@ text 1 {length}\n"))),
        Just(said(WHOLE)),
        Just(b"\n".to_vec()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn chunks_make_no_difference(bytes in hostile(), cuts in proptest::collection::vec(1_usize..30, 1..40)) {
        let (whole, failed) = decode(&bytes);
        let mut decoder = Decoder::new(&nonce());
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            rest = later;
            match decoder.push(now) {
                Ok(more) => records.extend(more),
                Err(_) => break,
            }
        }
        prop_assert_eq!(records, whole);
        prop_assert_eq!(decoder.failed().cloned(), failed);
    }
}

// REVIEW D3
#[test]
fn an_id_or_a_key_that_is_no_plain_name_is_not_taken() {
    let long = "a".repeat(81);
    for odd in ["", "\u{1b}[2J", "../a", "a\u{202e}b", "\u{9b}1m", "é", &long] {
        for line in [
            format!("@ machine {odd}\n"),
            format!("@ fact {odd} v\n"),
            format!("@ attr 1 {odd} v\n"),
            format!("@ job {odd} done\n"),
            format!("@ begin {odd} 1\n"),
            format!("@ step {odd} 1 changed 0 - -\n"),
            format!("@ stepattr a1 1 before {odd} v\n"),
            format!("@ have {odd}\n"),
            format!("@ acked {odd}\n"),
        ] {
            let (mut records, _) = decode(&said(&line));
            // Told as a line that is not understood, with nothing in it that steers a terminal.
            records.retain(|record| match record {
                Record::Odd { line } => {
                    let hidden = ['\u{1b}', '\u{202e}', '\u{9b}'];
                    assert!(!line.contains(hidden), "{line:?}");
                    false
                }
                _ => true,
            });
            let shown = format!("{records:?}");
            assert!(odd.is_empty() || !shown.contains(odd), "{line:?}: {shown}");
            assert!(
                !records.iter().any(|record| matches!(
                    record,
                    Record::Machine { .. } | Record::Fact { .. } | Record::Attr { .. } | Record::Job { .. }
                )),
                "{line:?}: {shown}"
            );
        }
    }
}

// REVIEW D4
#[test]
fn a_host_that_says_more_of_a_kind_than_a_host_has_is_not_read_on() {
    use holdfast_agent::reply::{ATTRIBUTES_BYTES_MAX, FACTS_BYTES_MAX, FACTS_MAX, JOBS_MAX, RECORDS_MAX};
    let lines = |count: usize, line: fn(usize) -> String| (0..=count).map(line).collect::<String>();
    for (what, text) in [
        ("facts", lines(FACTS_MAX, |n| format!("@ fact f{n} v\n"))),
        (
            "bytes of facts",
            lines(FACTS_BYTES_MAX / 1024, |n| {
                format!("@ fact f{n} {}\n", "v".repeat(1024))
            }),
        ),
        (
            "bytes of attributes of one resource",
            lines(ATTRIBUTES_BYTES_MAX / 1024, |_| {
                format!("@ attr 7 line {}\n", "v".repeat(1024))
            }),
        ),
        ("jobs", lines(JOBS_MAX, |n| format!("@ job a{n} running\n"))),
        ("lines", lines(RECORDS_MAX, |_| "@ forks 1\n".to_owned())),
        (
            "bytes of one step's output",
            format!("@ output a1 1 9000\n{}\n", "v".repeat(9000)),
        ),
    ] {
        let (_, failed) = decode(&said(&text));
        assert!(
            matches!(failed, Some(ReplyError::TooMuch { what: found, .. }) if found == what),
            "{what}: {failed:?}"
        );
    }
    // A large fleet's host is well within them.
    let honest = lines(30_000, |n| format!("@ attr {} mode 0644\n", n / 10)) + "@ done\n";
    assert_eq!(decode(&said(&honest)).1, None);
}
