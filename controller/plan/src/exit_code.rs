//! The exit codes of `holdfast`, in one place. Scripts depend on them: a change is a breaking change.

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// All went well; with `--detailed-exitcode`: and there is nothing to change.
    pub const OK: Self = Self(0);
    /// The controller could not go on: bad input, no store, not confirmed.
    pub const ERROR: Self = Self(1);
    /// `run`, `apply`: some host failed, refused, ran out of time or is held.
    pub const HOST_FAILED: Self = Self(2);
    /// `plan`, `drift` with `--detailed-exitcode`: there are changes, and every selected host was observed.
    pub const CHANGES: Self = Self(2);
    /// `run`, `apply`, `plan`, `drift`: some host could not be reached, or we can't tell how it ended.
    pub const HOST_UNREACHABLE: Self = Self(4);
    /// `run`, `apply`: both of the two above.
    pub const HOST_FAILED_AND_UNREACHABLE: Self = Self(6);

    /// A signal cut it short, whatever else went wrong: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP. What was
    /// received is told, and what was left is said per host. If all was done all the same, the other codes hold.
    pub const fn of_signal(number: u8) -> Self {
        Self(128 + number)
    }
}
