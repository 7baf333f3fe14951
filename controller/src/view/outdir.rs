//! Keeps the output of ad-hoc commands in a folder: `HOST.out` and `HOST.err`, byte for byte, however long.

use crate::output::{Collected, Output};
use crate::transport::Stream;
use crate::view::command::ending_case;
use crate::view::fold::fold_cases;
use crate::view::terminal::{BOLD, data, paint};
use crate::view::words::counted;
use holdfast_inventory::HostName;
use holdfast_plan::outcome::Outcome;
use holdfast_plan::report::Report;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A folder that takes output. Its names are those of hosts of the inventory, which hold no `/` and begin with no dot.
#[derive(Debug)]
pub struct OutDir {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<(HostName, Stream), File>,
    /// The first failure: from then on what is there is not the whole.
    failed: Option<(PathBuf, io::Error)>,
}

impl OutDir {
    /// Makes the folder. One that holds files is refused: whose output they are could not be told.
    pub fn create(folder: &Path) -> io::Result<Self> {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read_dir(folder)?.next().is_some() {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is not empty"));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            state: Mutex::default(),
        })
    }

    fn write(&self, host: &HostName, stream: Stream, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_some() {
            return;
        }
        let extension = match stream {
            Stream::Stdout => "out",
            Stream::Stderr => "err",
        };
        let path = self.folder.join(format!("{host}.{extension}"));
        let key = (host.clone(), stream);
        let written = match state.open.get_mut(&key) {
            Some(file) => file.write_all(bytes),
            None => {
                let made = File::options().write(true).create_new(true).mode(0o600).open(&path);
                made.and_then(|mut file| {
                    file.write_all(bytes)?;
                    state.open.insert(key, file);
                    Ok(())
                })
            }
        };
        if let Err(error) = written {
            state.failed = Some((path, error));
        }
    }

    /// Tells how hosts ended that did not end well, and where the output is; gives the failure to keep it, if any.
    pub fn finish(&self, report: &Report) -> Result<(), (PathBuf, io::Error)> {
        let bad = report.hosts.iter().filter_map(|(host, row)| {
            let outcome = row.outcome.as_ref()?;
            (!matches!(outcome, Outcome::Ok)).then(|| (host.clone(), ending_case(host, "", outcome)))
        });
        for block in fold_cases(bad) {
            data(&format!("{}\n{}", paint(BOLD, block.title()), block.text));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = state.failed.take() {
            return Err(failed);
        }
        data(&format!(
            "The output of {} is in {}\n",
            counted(report.hosts.len(), "host"),
            self.folder.display()
        ));
        Ok(())
    }
}

impl Output for OutDir {
    fn chunk(&self, host: &HostName, stream: Stream, bytes: &[u8]) {
        self.write(host, stream, bytes);
    }

    fn over(&self, host: &HostName, _: &Outcome, _: Collected) {
        // A command that prints nothing has an empty file: it ran.
        self.write(host, Stream::Stdout, b"");
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in [Stream::Stdout, Stream::Stderr] {
            state.open.remove(&(host.clone(), stream));
        }
    }

    fn ended(&self, _: &HostName, _: &Outcome) {}
}
