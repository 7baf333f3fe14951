//! Finds the agent binary on the controller's machine, and reads off what kind of machine it runs on.
//!
//! It builds nothing: who has none is told the command.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What makes a static agent, with rustup's own toolchain.
const BUILD_COMMAND: &str = "RUSTFLAGS='-C target-feature=+crt-static' cargo build -p holdfast-agent \
     --profile agent --target x86_64-unknown-linux-gnu";

/// The agent has 1 to 3 MB; more than this is another file.
const BINARY_BYTES_MAX: u64 = 64 * 1024 * 1024;

const FILE_NAME: &str = "holdfast-agent";

/// An agent binary, read.
#[derive(Debug, Clone)]
pub struct AgentBinary {
    /// The file.
    pub bytes: Arc<[u8]>,
    /// The machine that it runs on, as `uname -m` names it, if we know that machine.
    pub machine: Option<&'static str>,
}

/// Why there is no agent binary to install.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It is in none of the usual places.
    #[error(
        "found no static holdfast-agent in {}; build one with `{BUILD_COMMAND}`, or give one with --binary FILE",
        searched.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotFound {
        /// Where we looked.
        searched: Vec<PathBuf>,
    },
    /// It can't be read.
    #[error("failed to read the agent binary {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no program for Linux.
    #[error("{} is no Linux program (ELF); --binary wants the holdfast-agent that is to run on the hosts", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// It needs libraries that a host may not have.
    #[error(
        "{} needs shared libraries that hosts may not have; build a static one with `{BUILD_COMMAND}`",
        path.display()
    )]
    NotStatic {
        /// The file.
        path: PathBuf,
    },
}

/// Finds the binary: the given file, else beside the controller, else among the builds of this workspace.
pub fn find(given: Option<&Path>) -> Result<AgentBinary, BinaryError> {
    if let Some(path) = given {
        return read(path);
    }
    let searched = std::env::current_exe().map_or_else(|_| Vec::new(), |controller| candidates(&controller));
    for path in &searched {
        match read(path) {
            // A debug build beside the controller is dynamic: look on for the one to install.
            Err(BinaryError::Read { .. } | BinaryError::NotStatic { .. }) => {}
            found => return found,
        }
    }
    Err(BinaryError::NotFound { searched })
}

/// `FOLDER/holdfast-agent` of the controller, and, if that is `target/PROFILE`, `target/TRIPLE/agent/holdfast-agent`.
fn candidates(controller: &Path) -> Vec<PathBuf> {
    let Some(folder) = controller.parent() else {
        return Vec::new();
    };
    let mut found = vec![folder.join(FILE_NAME)];
    if let Some(target) = folder.parent() {
        let triple = format!("{}-unknown-linux", std::env::consts::ARCH);
        for libc in ["gnu", "musl"] {
            found.push(target.join(format!("{triple}-{libc}")).join("agent").join(FILE_NAME));
        }
    }
    found
}

fn read(path: &Path) -> Result<AgentBinary, BinaryError> {
    let fail = |source| BinaryError::Read {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(fail)?.len();
    if length > BINARY_BYTES_MAX {
        return Err(BinaryError::NotElf { path: path.to_owned() });
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    let Some(elf) = Elf::read(&bytes) else {
        return Err(BinaryError::NotElf { path: path.to_owned() });
    };
    if elf.needs_interpreter {
        return Err(BinaryError::NotStatic { path: path.to_owned() });
    }
    Ok(AgentBinary {
        machine: elf.machine,
        bytes: bytes.into(),
    })
}

/// What we need of an ELF header (System V ABI, chapter 4 and 5).
struct Elf {
    machine: Option<&'static str>,
    needs_interpreter: bool,
}

impl Elf {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"\x7fELF" {
            return None;
        }
        let wide = *bytes.get(4)? == 2;
        let little = *bytes.get(5)? == 1;
        let field = |at: usize, size: usize| -> Option<u64> {
            let field = bytes.get(at..at.checked_add(size)?)?;
            let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
            Some(if little {
                field.iter().rev().fold(0, fold)
            } else {
                field.iter().fold(0, fold)
            })
        };
        let machine = match field(18, 2)? {
            3 => Some("i686"),
            20 => Some("ppc"),
            21 => Some("ppc64le"),
            22 => Some("s390x"),
            40 => Some("armv7l"),
            62 => Some("x86_64"),
            183 => Some("aarch64"),
            243 => Some("riscv64"),
            _ => None,
        };
        let (offset, size, count) = if wide {
            (field(32, 8)?, field(54, 2)?, field(56, 2)?)
        } else {
            (field(28, 4)?, field(42, 2)?, field(44, 2)?)
        };
        let mut needs_interpreter = false;
        for index in 0..count {
            let at = usize::try_from(offset.checked_add(index.checked_mul(size)?)?).ok()?;
            // PT_INTERP names the dynamic linker.
            needs_interpreter |= field(at, 4)? == 3;
        }
        Some(Self {
            machine,
            needs_interpreter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_and_a_text_are_refused() {
        let this_test = std::env::current_exe().expect("a path");
        assert!(matches!(find(Some(&this_test)), Err(BinaryError::NotStatic { .. })));
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("text");
        std::fs::write(&text, "#!/bin/sh\n").expect("written");
        assert!(matches!(find(Some(&text)), Err(BinaryError::NotElf { .. })));
        assert!(matches!(
            find(Some(&folder.path().join("no"))),
            Err(BinaryError::Read { .. })
        ));
    }

    #[test]
    fn a_static_header_is_read_and_a_cut_one_is_no_program() {
        // ELF64, little endian, EM_X86_64 (62), one program header of 56 bytes at 64: PT_LOAD (1).
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 1;
        let read = Elf::read(&elf).expect("a header");
        assert_eq!((read.machine, read.needs_interpreter), (Some("x86_64"), false));
        elf.truncate(60);
        assert!(Elf::read(&elf).is_none());
    }

    #[test]
    fn the_builds_of_the_workspace_are_searched() {
        let found = candidates(Path::new("/w/target/debug/holdfast"));
        let arch = std::env::consts::ARCH;
        assert_eq!(found[0], Path::new("/w/target/debug/holdfast-agent"));
        let expected = PathBuf::from(format!("/w/target/{arch}-unknown-linux-gnu/agent/holdfast-agent"));
        assert_eq!(found[1], expected);
    }
}
