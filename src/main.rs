//! The executable `redress`: parse, run, say what went wrong in one line.

use clap::Parser as _;
use redress::cli::{Cli, run_blocking};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run_blocking(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redress: {}", format!("{error:#}").replace('\n', "; "));
            ExitCode::FAILURE
        }
    }
}
