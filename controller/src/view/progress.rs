//! Live progress on stderr for people; nothing when nobody watches.

use crate::transport::Stream;
use crate::view::sanitize::one_line;
use crate::view::terminal;
use crate::view::terminal::stderr_is_terminal;
use holdfast_inventory::HostName;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A line on stderr: how many hosts are done, and which are being waited for.
pub struct Progress {
    bar: ProgressBar,
    waiting: Mutex<BTreeSet<HostName>>,
}

/// Hosts named in the line, at most: more would wrap on 80 columns.
const NAMED_MAX: usize = 3;

impl Progress {
    /// Shows `what` over `total` hosts.
    pub fn new(what: &str, total: usize) -> Self {
        let bar = if stderr_is_terminal() {
            let bar = ProgressBar::new(total as u64);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {pos}/{len} [{elapsed}] {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        Self {
            bar,
            waiting: Mutex::default(),
        }
    }

    /// Notes that a host is being worked on.
    pub fn begin(&self, host: &HostName) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(host.clone());
        self.show();
    }

    /// Notes that a host is done.
    pub fn end(&self, host: &HostName) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
        self.bar.inc(1);
        self.show();
    }

    /// Says what one host is doing now.
    pub fn say(&self, host: &HostName, what: &str) {
        self.bar.set_message(format!("{host}: {}", one_line(what)));
    }

    /// Says that the way to a host was lost, and that the host is asked again.
    pub fn trying_again(&self, host: &HostName, why: &str) {
        self.print(&format!("{host}: connection lost ({}), trying again", one_line(why)));
        self.say(host, "connection lost, trying again");
    }

    /// Notes above the progress line how a host ended, if somebody watches.
    pub fn mark(&self, host: &HostName, word: &str) {
        if !self.bar.is_hidden() {
            self.print(&format!("{host}: {word}"));
        }
    }

    /// Writes a line above the progress line.
    pub fn print(&self, line: &str) {
        self.bar.suspend(|| terminal::note(line));
    }

    /// Writes data to stdout without tearing the progress line.
    pub fn data(&self, text: &str) {
        self.bar.suspend(|| terminal::data(text));
    }

    /// Writes bytes of a host as they are, to streams that are no terminal.
    pub fn raw(&self, stream: Stream, bytes: &[u8]) {
        self.bar.suspend(|| match stream {
            Stream::Stdout => terminal::raw_data(bytes),
            Stream::Stderr => terminal::raw_note(bytes),
        });
    }

    /// Takes the line away for good: what follows is not progress.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<&str> = waiting.iter().take(NAMED_MAX).map(HostName::as_str).collect();
        if waiting.len() > NAMED_MAX {
            names.push("...");
        }
        self.bar.set_message(names.join(" "));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
