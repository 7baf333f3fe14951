//! The binary `holdfast`: hands the arguments to the library and gives back its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast::cli::main(std::env::args_os())
}
