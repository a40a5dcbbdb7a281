//! The chaos suite: the real executable, real servers and real faults, judged from outside. `scripts/chaos` runs it.
//!
//! A cell is one fault in one setting, and a process of its own; what it finds is printed by that process and counted here.
//! The judge is that of `tests/it/faults`: journals that the connected systems write themselves, mail on the disk, the answers
//! that callers kept, the database, the audit log and the API.

mod calm;
mod cells;
mod checker;
mod faults;
#[path = "../it/faults/holding.rs"]
mod holding;
mod load;
#[allow(dead_code, unused_imports, reason = "shared with tests/it, where the rest of it is used")]
#[path = "../it/faults/matrix.rs"]
mod matrix;
mod mutants;
mod points;
mod runner;
#[allow(dead_code, reason = "shared with tests/it, where the rest of it is used")]
#[path = "../it/faults/scene.rs"]
mod scene;
#[allow(dead_code, unused_imports, reason = "shared with tests/it, where the rest of it is used")]
#[path = "../it/support/mod.rs"]
mod support;
mod sweep;
mod volume;
#[path = "../it/faults/watched.rs"]
mod watched;
mod workers;

use std::process::ExitCode;

const USAGE: &str = "\
usage: scripts/chaos [--slice | --list | --cell NAME… | --mutants | --mutant NAME] [--jobs N] [--seed N]
  (nothing)       every cell, and then every mutant
  --slice         the part that fits into ten minutes
  --list          the names of all cells, and why some combinations make no sense
  --cell NAME     these cells, with everything they print; the part of a name does
  --mutants       each deliberate mistake must be caught
  --mutant NAME   one mistake, with what the cell says that catches it
  --jobs N        so many cells at once (6)
  --seed N        another choice of moments";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        // A test runner that runs or lists everything: the suite has a command of its own.
        [] | ["--list", "--format", ..] | ["--nocapture" | "--quiet" | "--test-threads", ..] => ExitCode::SUCCESS,
        ["run-cell", name] => runner::child(name),
        _ => {
            if let Some(wanted) = runner::Wanted::parse(&words) {
                return runner::run(&wanted);
            }
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
