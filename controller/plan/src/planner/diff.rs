//! The unified diff of a file's text, where there is one to show.

use crate::content::Blobs;
use crate::ledger::LedgerEntry;
use crate::observation::Observed;
use crate::resource::{Comparison, DesiredResource, Resource};
use similar::TextDiff;

/// The longest text that is compared, as long as the text that a host sends along (64 KiB).
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The most lines on either side: the comparison's time grows with lines times differences, and nobody reads more.
const TEXT_LINES_MAX: usize = 2_000;
/// Lines around a difference, as `diff -u` has it.
const CONTEXT_LINES: usize = 3;

/// Compares the text of a file with what is desired. Sensitive files have no diff.
pub(super) fn of_file(
    desired: &DesiredResource,
    found: Option<&Observed>,
    comparison: &Comparison,
    blobs: &Blobs,
) -> Option<String> {
    let Resource::File(file) = &desired.resource else {
        return None;
    };
    if desired.sensitive || file.sensitive {
        return None;
    }
    let content = file.content.as_ref()?;
    let new = blobs.get(&content.sha256)?;
    let old: &[u8] = match comparison {
        Comparison::Absent | Comparison::Replace(_) => &[],
        _ => {
            let attributes = &found?.attributes;
            if attributes.get("digest").is_some_and(|digest| content.matches(digest)) {
                return None;
            }
            match &found?.text {
                Some(text) => text,
                None => return Some(format!("{}: the text on the host is not shown\n", file.path)),
            }
        }
    };
    Some(unified(&file.path, old, new))
}

/// Compares the text of a file that leaves with the one that comes back, if the host showed it.
pub(super) fn of_return(entry: &LedgerEntry, found: Option<&Observed>, blobs: &Blobs) -> Option<String> {
    let Resource::File(file) = &entry.desired.resource else {
        return None;
    };
    if entry.desired.sensitive || file.sensitive {
        return None;
    }
    let found = found?;
    let new = found.kept.as_ref()?;
    let old: &[u8] = match (found.attributes.get("type")?, &found.text) {
        ("file", Some(text)) => text,
        ("file", None) => {
            // The host sends no text that we have.
            let content = file.content.as_ref()?;
            let ours = found
                .attributes
                .get("digest")
                .is_some_and(|digest| content.matches(digest));
            blobs.get(&content.sha256).filter(|_| ours)?
        }
        _ => &[],
    };
    (old != new).then(|| compared(&file.path, old, new, "as it was before"))
}

fn unified(path: &str, old: &[u8], new: &[u8]) -> String {
    compared(path, old, new, "desired")
}

fn compared(path: &str, old: &[u8], new: &[u8], of_new: &str) -> String {
    let too_large = |text: &[u8]| {
        text.len() > TEXT_BYTES_MAX || text.iter().filter(|byte| **byte == b'\n').count() > TEXT_LINES_MAX
    };
    match (text(old), text(new)) {
        _ if too_large(old) || too_large(new) => {
            format!(
                "{path}: too large to show ({} bytes before, {} after)\n",
                old.len(),
                new.len()
            )
        }
        (Some(old), Some(new)) => TextDiff::from_lines(old, new)
            .unified_diff()
            .context_radius(CONTEXT_LINES)
            .header(&format!("{path} (on the host)"), &format!("{path} ({of_new})"))
            .to_string(),
        _ => format!(
            "{path}: binary differs ({} bytes before, {} after)\n",
            old.len(),
            new.len()
        ),
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_compared_by_lines_and_binary_is_not() {
        assert_eq!(
            unified("/etc/motd", b"a\nb\n", b"a\nc\n"),
            // As `diff -u` of GNU diffutils prints it.
            "--- /etc/motd (on the host)\n+++ /etc/motd (desired)\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
        );
        assert_eq!(
            unified("/bin/x", b"\0", b"a"),
            "/bin/x: binary differs (1 bytes before, 1 after)\n"
        );
        let long = "x\n".repeat(TEXT_LINES_MAX + 1);
        assert!(unified("/x", b"", long.as_bytes()).contains("too large"));
    }
}
