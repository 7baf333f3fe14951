//! The spool: reports that wait for a controller, one file each, named by sequence number.
//!
//! ```text
//! spool/id                     UUID made with the folder: a reinstalled agent has another spool
//! spool/00000000000000000042   report 42, complete or absent (written beside, fsync, rename)
//! spool/acked                  the last recorded number, decimal
//! ```
//!
//! The newest report is never removed, acknowledged or not: its name is the counter and its content is "what was last
//! reported", so that one rename is the whole transaction, and a kill at any point neither repeats nor loses a report.
//! Only the daemon appends (under its lock); any `stdio` process may read and acknowledge meanwhile.

use crate::paths::{PathError, read_if_there, write_durably};
use holdfast_agent::wire::Report;
use prost::Message as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Bounds of the spool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Reports kept.
    pub(crate) reports_max: usize,
    /// Bytes kept.
    pub(crate) bytes_max: u64,
}

impl Limits {
    /// A thousand changes are more than a person reads after a holiday; 16 MiB fit into the smallest /var seen, and
    /// hold eight reports of the largest size.
    pub(crate) const DEFAULT: Self = Self {
        reports_max: 1000,
        bytes_max: 16 * 1024 * 1024,
    };
}

/// An open spool.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    id: String,
}

impl Spool {
    /// Opens the spool for reading and acknowledging; `None` if no daemon ever made one.
    pub(crate) fn open(dir: &Path) -> Result<Option<Self>, PathError> {
        let id = read_if_there(&dir.join("id"))?;
        Ok(id.map(|id| Self {
            dir: dir.to_owned(),
            id: String::from_utf8_lossy(&id).trim().to_owned(),
        }))
    }

    /// Opens the spool, or makes it. For the daemon alone, under its lock.
    pub(crate) fn open_or_create(dir: &Path) -> Result<Self, PathError> {
        if let Some(spool) = Self::open(dir)? {
            return Ok(spool);
        }
        let fail = |doing| {
            move |source| PathError::Io {
                doing,
                path: dir.to_owned(),
                source,
            }
        };
        let id = random_uuid().map_err(fail("make an id for"))?;
        // The id is there before the folder has its name: a spool without id is never seen.
        let temporary = dir.with_extension(format!("new.{}", std::process::id()));
        DirBuilder::new()
            .mode(0o700)
            .create(&temporary)
            .map_err(fail("make the folder"))?;
        write_durably(&temporary.join("id"), format!("{id}\n").as_bytes())?;
        fs::rename(&temporary, dir).map_err(fail("make the folder"))?;
        Ok(Self {
            dir: dir.to_owned(),
            id,
        })
    }

    /// Shows the id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Adds a report under the next number, which it gives, and drops the oldest beyond the limits.
    pub(crate) fn append(&self, mut report: Report, limits: Limits) -> Result<u64, PathError> {
        let newest = self.newest()?;
        report.spool.clone_from(&self.id);
        report.seq = newest + 1;
        write_durably(&self.path(report.seq), &report.encode_to_vec())?;
        self.trim(limits)?;
        Ok(report.seq)
    }

    /// Gives the highest number given so far (0: none).
    pub(crate) fn newest(&self) -> Result<u64, PathError> {
        let newest = self.list()?.last().copied().unwrap_or(0);
        Ok(newest.max(self.acked()?))
    }

    /// Lists the numbers that are there, ascending.
    pub(crate) fn list(&self) -> Result<Vec<u64>, PathError> {
        let fail = |source| PathError::Io {
            doing: "list",
            path: self.dir.clone(),
            source,
        };
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            let Some(name) = name.to_str().filter(|name| name.len() == SEQ_DIGITS) else {
                continue;
            };
            numbers.extend(name.parse::<u64>());
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads one report; `None` if it is gone or unreadable (a disk that lies), which counts as lost.
    pub(crate) fn read(&self, seq: u64) -> Result<Option<Report>, PathError> {
        let bytes = read_if_there(&self.path(seq))?;
        let report = bytes.and_then(|bytes| Report::decode(bytes.as_slice()).ok());
        Ok(report.filter(|report| report.seq == seq && report.spool == self.id))
    }

    /// Gives the last number that a controller recorded.
    pub(crate) fn acked(&self) -> Result<u64, PathError> {
        let bytes = read_if_there(&self.dir.join("acked"))?;
        Ok(bytes
            .and_then(|bytes| String::from_utf8_lossy(&bytes).trim().parse().ok())
            .unwrap_or(0))
    }

    /// Forgets reports up to a number. The newest stays as the memory of what was last reported.
    pub(crate) fn ack(&self, seq: u64) -> Result<(), PathError> {
        if seq > self.acked()? {
            write_durably(&self.dir.join("acked"), format!("{seq}\n").as_bytes())?;
        }
        let mut numbers = self.list()?;
        numbers.pop();
        for number in numbers.into_iter().filter(|number| *number <= seq) {
            self.remove(number)?;
        }
        Ok(())
    }

    /// Removes what killed daemons left half written. For the daemon alone, under its lock.
    pub(crate) fn sweep(&self) -> Result<(), PathError> {
        let fail = |source| PathError::Io {
            doing: "sweep",
            path: self.dir.clone(),
            source,
        };
        for entry in fs::read_dir(&self.dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            // `.NUMBER.PID`: only daemons write reports; `.acked.PID` may be a living process's.
            if name.to_string_lossy().starts_with(".0") {
                fs::remove_file(entry.path()).map_err(fail)?;
            }
        }
        Ok(())
    }

    fn trim(&self, limits: Limits) -> Result<(), PathError> {
        let mut kept = Vec::new();
        for number in self.list()? {
            // Gone in between: acknowledged.
            let Ok(metadata) = fs::metadata(self.path(number)) else {
                continue;
            };
            kept.push((number, metadata.len()));
        }
        let mut bytes: u64 = kept.iter().map(|(_, size)| size).sum();
        let mut count = kept.len();
        for (number, size) in kept {
            if count <= 1 || (count <= limits.reports_max && bytes <= limits.bytes_max) {
                break;
            }
            self.remove(number)?;
            count -= 1;
            bytes -= size;
        }
        Ok(())
    }

    fn remove(&self, seq: u64) -> Result<(), PathError> {
        let path = self.path(seq);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(PathError::Io {
                doing: "remove",
                path,
                source,
            }),
        }
    }

    fn path(&self, seq: u64) -> PathBuf {
        self.dir.join(format!("{seq:0SEQ_DIGITS$}"))
    }
}

/// Digits of a report's file name: as many as the largest `u64` has, so that names sort as numbers.
const SEQ_DIGITS: usize = 20;

/// Makes a version 4 UUID (RFC 9562) from the kernel's randomness.
fn random_uuid() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Report {
        Report {
            bytes: text.as_bytes().to_vec().into(),
            ..Report::default()
        }
    }

    fn spool() -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open_or_create(&folder.path().join("spool")).expect("a spool");
        (folder, spool)
    }

    #[test]
    fn the_oldest_reports_are_dropped_beyond_the_count() {
        let (_folder, spool) = spool();
        let limits = Limits {
            reports_max: 3,
            bytes_max: u64::MAX,
        };
        for number in 1..=5 {
            assert_eq!(spool.append(report("x"), limits).expect("appended"), number);
        }
        assert_eq!(spool.list().expect("a list"), [3, 4, 5]);
    }

    #[test]
    fn the_oldest_reports_are_dropped_beyond_the_bytes_but_never_the_newest() {
        let (_folder, spool) = spool();
        let limits = Limits {
            reports_max: 10,
            bytes_max: 100,
        };
        spool.append(report(&"x".repeat(60)), limits).expect("appended");
        spool.append(report(&"y".repeat(500)), limits).expect("appended");
        assert_eq!(spool.list().expect("a list"), [2]);
    }

    #[test]
    fn numbers_go_on_after_everything_was_acknowledged_and_reopened() {
        let (folder, spool) = spool();
        spool.append(report("a"), Limits::DEFAULT).expect("appended");
        spool.append(report("b"), Limits::DEFAULT).expect("appended");
        spool.ack(2).expect("acknowledged");
        let again = Spool::open_or_create(&folder.path().join("spool")).expect("a spool");
        assert_eq!(again.id(), spool.id());
        assert_eq!(again.list().expect("a list"), [2], "the newest is the memory");
        assert_eq!(again.append(report("c"), Limits::DEFAULT).expect("appended"), 3);
        assert_eq!(again.read(3).expect("readable").expect("there").bytes, "c");
    }

    #[test]
    fn what_a_kill_left_half_written_is_no_report() {
        let (_folder, spool) = spool();
        spool.append(report("a"), Limits::DEFAULT).expect("appended");
        fs::write(spool.dir.join(format!(".{:020}.123", 2)), b"half").expect("written");
        assert_eq!(spool.list().expect("a list"), [1]);
        spool.sweep().expect("swept");
        assert_eq!(
            fs::read_dir(&spool.dir).expect("there").count(),
            2,
            "the id and report 1"
        );
        assert_eq!(spool.append(report("b"), Limits::DEFAULT).expect("appended"), 2);
    }

    #[test]
    fn an_unreadable_report_is_none_and_its_number_is_not_used_again() {
        let (_folder, spool) = spool();
        spool.append(report("a"), Limits::DEFAULT).expect("appended");
        fs::write(spool.path(1), b"\xff\xff\xff").expect("written");
        assert_eq!(spool.read(1).expect("readable"), None);
        assert_eq!(spool.append(report("b"), Limits::DEFAULT).expect("appended"), 2);
    }

    #[test]
    fn spool_ids_are_version_4_uuids() {
        let id = random_uuid().expect("randomness");
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert_ne!(id, random_uuid().expect("randomness"));
    }
}
