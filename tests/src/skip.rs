//! How a test says that it can't run here. Every test target includes this file, by path.

use std::io::Write;

/// Says why a test, or a part of one, is passed over.
///
/// Test runners hide what a passing test prints, so the word also goes to the file that `HOLDFAST_SKIPPED` names:
/// `tests/run` sets it and ends with what it finds there.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
    if let Some(path) = std::env::var_os("HOLDFAST_SKIPPED") {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .expect("tests/run made it");
        // One write, so that tests at the same time don't mix their lines.
        file.write_all(line.as_bytes()).expect("the disk has room for a line");
    }
}
