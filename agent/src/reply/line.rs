//! Reads one line of a reply: fields are cut at spaces, ids are plain names, values are unescaped.

use super::escape::unescape;
use super::limits::EPOCH_MAX;
use super::{BlobOf, Decision, JobEnd, JobState, NAME_BYTES_MAX, Record, Refusal, ReplyError, StepStatus, When};

/// What a line is.
pub(super) enum Line {
    Record(Record),
    Blob(BlobOf, u64),
}

/// Reads one line without its nonce; `None` if it is not of the protocol.
pub(super) fn parse(line: &str) -> Option<Line> {
    let (keyword, rest) = cut(line);
    let record = match keyword {
        "ready" => Record::Ready,
        "have" => Record::Have { sha256: name(rest)? },
        "fact" => {
            let (key, value) = cut(rest);
            Record::Fact {
                key: name(key)?,
                value: unescape(value),
            }
        }
        "machine" => Record::Machine { id: name(rest)? },
        "epoch" => Record::Epoch {
            epoch: rest.parse().ok().filter(|epoch| *epoch <= EPOCH_MAX)?,
        },
        "last" => Record::Last { attempt: name(rest)? },
        "life" => {
            let (life, address) = cut(rest);
            Record::Life {
                life: name(life)?,
                address: unescape(address),
            }
        }
        "forks" => Record::Forks {
            count: rest.parse().ok()?,
        },
        "attr" => {
            let (id, rest) = cut(rest);
            let (key, value) = cut(rest);
            Record::Attr {
                id: id.parse().ok()?,
                key: name(key)?,
                value: unescape(value),
            }
        }
        "text" => {
            let (id, length) = cut(rest);
            return Some(Line::Blob(BlobOf::Text(id.parse().ok()?), length.parse().ok()?));
        }
        "job" => {
            let (attempt, state) = cut(rest);
            Record::Job {
                attempt: name(attempt)?,
                state: JobState::from_word(state)?,
            }
        }
        "begin" => {
            let (attempt, index) = cut(rest);
            Record::Begin {
                attempt: name(attempt)?,
                index: index.parse().ok()?,
            }
        }
        "applying" => {
            let (attempt, rest) = cut(rest);
            let (index, digest) = cut(rest);
            Record::Applying {
                attempt: name(attempt)?,
                index: index.parse().ok()?,
                before_digest: digest_of(digest)?,
            }
        }
        "guarded" => {
            let (attempt, seconds) = cut(rest);
            Record::Guarded {
                attempt: name(attempt)?,
                seconds: seconds.parse().ok()?,
            }
        }
        "decided" => {
            let (attempt, decision) = cut(rest);
            Record::Decided {
                attempt: name(attempt)?,
                decision: Decision::from_word(decision)?,
            }
        }
        "stepattr" => {
            let (attempt, rest) = cut(rest);
            let (index, rest) = cut(rest);
            let (when, rest) = cut(rest);
            let (key, value) = cut(rest);
            Record::StepAttr {
                attempt: name(attempt)?,
                index: index.parse().ok()?,
                when: When::from_word(when)?,
                key: name(key)?,
                value: unescape(value),
            }
        }
        "step" => {
            let (attempt, rest) = cut(rest);
            let (index, rest) = cut(rest);
            let (status, rest) = cut(rest);
            let (seconds, rest) = cut(rest);
            let (digest, detail) = cut(rest);
            let status = StepStatus::from_word(status)?;
            Record::Step {
                attempt: name(attempt)?,
                index: index.parse().ok()?,
                status,
                // Told to people only; a clock that went back is no reason to lose the step.
                seconds: seconds.parse().unwrap_or(0),
                before_digest: digest_of(digest)?,
                // Attributes, as the probe reported them; every other detail is words.
                detail: match status {
                    StepStatus::NotConverged => unescape(detail),
                    _ => detail.to_owned(),
                },
            }
        }
        "output" => {
            let (attempt, rest) = cut(rest);
            let (index, length) = cut(rest);
            let of = BlobOf::Output(name(attempt)?, index.parse().ok()?);
            return Some(Line::Blob(of, length.parse().ok()?));
        }
        "end" => {
            let (attempt, rest) = cut(rest);
            let (end, detail) = cut(rest);
            let end = JobEnd::from_word(end)?;
            Record::End {
                attempt: name(attempt)?,
                end,
                detail: match end {
                    JobEnd::Stale => unescape(detail),
                    _ => detail.to_owned(),
                },
            }
        }
        "refused" => {
            let (kind, detail) = cut(rest);
            Record::Refused {
                kind: Refusal::from_word(kind)?,
                detail: detail.to_owned(),
            }
        }
        "acked" => Record::Acked { attempt: name(rest)? },
        "done" => Record::Done,
        _ => return None,
    };
    Some(Line::Record(record))
}

/// Takes an id, a digest or a key: they go into paths, tables and terminals, so they are plain names or nothing.
fn name(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    ((1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)).then(|| text.to_owned())
}

/// Takes a digest; `-` stands for none.
fn digest_of(text: &str) -> Option<Option<String>> {
    if text == "-" { Some(None) } else { name(text).map(Some) }
}

/// Cuts at the first space; without one, all is the first field.
pub(super) fn cut(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

pub(super) fn malformed(line: &[u8]) -> ReplyError {
    ReplyError::Malformed { line: shown(line) }
}

pub(super) fn shown(line: &[u8]) -> String {
    let shown = String::from_utf8_lossy(line).chars().take(200).collect::<String>();
    shown.escape_debug().to_string()
}
