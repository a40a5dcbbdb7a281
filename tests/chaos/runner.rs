//! The runner starts each cell as a process, counts what they found, and says in the last line what it came to.

use crate::cells::{Cell, Ended, What, all};
use crate::mutants::{MUTANTS, Mutant, attempt};
use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The exit code of a cell that this machine cannot stage.
const SKIPPED: u8 = 77;

/// What the caller asked for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    slice: bool,
    list: bool,
    cells: Vec<String>,
    mutants: bool,
    mutant: Option<String>,
    jobs: Option<usize>,
    seed: Option<u64>,
}

impl Wanted {
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut wanted = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--all" => {}
                "--slice" => wanted.slice = true,
                "--list" => wanted.list = true,
                "--mutants" => wanted.mutants = true,
                "--cell" => wanted.cells.push((*words.next()?).to_owned()),
                "--mutant" => wanted.mutant = Some((*words.next()?).to_owned()),
                "--jobs" => wanted.jobs = Some(words.next()?.parse().ok()?),
                "--seed" => wanted.seed = Some(words.next()?.parse().ok()?),
                _ => return None,
            }
        }
        Some(wanted)
    }
}

/// What the cells' processes found, together.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) staged: usize,
    pub(crate) skipped: usize,
    pub(crate) failed: Vec<String>,
}

/// How the process of a cell ended.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) status: Status,
    pub(crate) output: String,
    pub(crate) took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Well,
    Skipped,
    Failed,
    /// It did not end in its time.
    Late,
}

/// One cell in this process.
pub(crate) fn child(name: &str) -> ExitCode {
    let Some(cell) = all().into_iter().find(|cell| cell.name == name) else {
        eprintln!("there is no cell {name}; scripts/chaos --list names them");
        return ExitCode::from(2);
    };
    let What::Stage(run) = cell.what else { return ExitCode::SUCCESS };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.expect("threads can be started").block_on(run());
    match ended {
        Ended::Well => ExitCode::SUCCESS,
        Ended::Skipped(why) => {
            println!("SKIPPED {why}");
            ExitCode::from(SKIPPED)
        }
    }
}

/// Everything that was asked for.
pub(crate) fn run(wanted: &Wanted) -> ExitCode {
    if wanted.list {
        list();
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let cells: Vec<Cell> = all().into_iter().filter(|cell| chosen(wanted, cell)).collect();
    if !wanted.cells.is_empty() && cells.is_empty() {
        eprintln!("no cell is named like that; scripts/chaos --list names them");
        return ExitCode::from(2);
    }
    let nonsense = cells.iter().filter(|cell| matches!(cell.what, What::NoSense(_))).count();
    let mut sum = Sum::default();
    if !cells.is_empty() {
        run_cells(wanted, cells, &mut sum);
        println!(
            "\n{} cells in {} s; {} skipped on this machine, {nonsense} combinations make no sense (--list says why)",
            sum.staged,
            begun.elapsed().as_secs(),
            sum.skipped
        );
    }
    let survived = mutants(wanted);
    if wanted.mutants || wanted.mutant.is_some() {
        return if survived.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if survived.is_empty() && sum.failed.is_empty() && sum.lost == 0 && sum.duplicates == 0 {
        println!("0 lost, 0 duplicate effects, {} cells", sum.staged);
        return ExitCode::SUCCESS;
    }
    println!("{} failed; each alone:", sum.failed.len() + survived.len());
    for name in survived {
        println!("  scripts/chaos --mutant '{name}'");
    }
    let seed = wanted.seed.map(|seed| format!(" --seed {seed}")).unwrap_or_default();
    for name in &sum.failed {
        println!("  scripts/chaos --cell '{name}'{seed}");
    }
    println!(
        "{} lost, {} duplicate effects, {} of {} cells failed",
        sum.lost,
        sum.duplicates,
        sum.failed.len(),
        sum.staged
    );
    ExitCode::FAILURE
}

/// Switches on each mistake that was asked for; those that no cell caught.
fn mutants(wanted: &Wanted) -> Vec<&'static str> {
    let chosen = |mutant: &&Mutant| match &wanted.mutant {
        Some(name) => mutant.name.contains(name.as_str()),
        None => wanted.cells.is_empty() && (wanted.mutants || !wanted.slice || mutant.slice),
    };
    let chosen: VecDeque<&Mutant> = MUTANTS.iter().filter(chosen).collect();
    let tried = chosen.len();
    if tried == 0 || !cfg!(feature = "mutants") {
        if tried > 0 || wanted.mutants || wanted.mutant.is_some() {
            println!("no mutant was tried: this build has none, or none is named like that");
        }
        return if wanted.mutants || wanted.mutant.is_some() { vec!["(none tried)"] } else { Vec::new() };
    }
    let queue = Mutex::new(chosen);
    let survived = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..wanted.jobs.unwrap_or(if wanted.mutant.is_some() { 1 } else { 4 }) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(mutant) = next else { return };
                    if !attempt(mutant, wanted.mutant.is_some()) {
                        survived.lock().unwrap_or_else(PoisonError::into_inner).push(mutant.name);
                    }
                }
            });
        }
    });
    let survived = survived.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{} of {tried} mutants were caught", tried - survived.len());
    survived
}

fn chosen(wanted: &Wanted, cell: &Cell) -> bool {
    if !wanted.cells.is_empty() {
        // The whole name means that cell only, whatever else begins like it.
        let is_whole = |name: &String| all().iter().any(|cell| cell.name == *name);
        let means = |name: &String| cell.name == *name || (!is_whole(name) && cell.name.contains(name.as_str()));
        return wanted.cells.iter().any(means);
    }
    if wanted.mutants || wanted.mutant.is_some() {
        return false;
    }
    if wanted.slice { cell.slice } else { !cell.small }
}

fn list() {
    for cell in all() {
        let note = match (&cell.what, cell.slice, cell.small) {
            (What::NoSense(why), ..) => format!("makes no sense: {why}"),
            (_, true, true) => "slice only".to_owned(),
            (_, true, false) => "slice".to_owned(),
            _ => String::new(),
        };
        println!("{:<70} {note}", cell.name);
    }
}

fn run_cells(wanted: &Wanted, cells: Vec<Cell>, sum: &mut Sum) {
    let jobs = wanted.jobs.unwrap_or(if wanted.cells.is_empty() { 6 } else { 1 });
    let queue: Mutex<VecDeque<(String, Duration)>> = Mutex::new(
        cells
            .into_iter()
            .filter(|cell| matches!(cell.what, What::Stage(_)))
            .map(|cell| (cell.name, cell.limit))
            .collect(),
    );
    let shared = Mutex::new(sum);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((name, limit)) = next else { return };
                    let mut environment = Vec::new();
                    environment.extend(wanted.seed.map(|seed| ("REDRESS_SEED", seed.to_string())));
                    let report = in_process(&name, limit, &environment);
                    let mut sum = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    tell(&name, &report, !wanted.cells.is_empty());
                    sum.add(&name, &report);
                }
            });
        }
    });
}

impl Sum {
    fn add(&mut self, name: &str, report: &Report) {
        let counted = |key: &str| -> u64 {
            let lines = report.output.lines().filter_map(|line| line.strip_prefix("TALLY "));
            let words = lines.flat_map(str::split_whitespace);
            words.filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok()).sum()
        };
        match report.status {
            Status::Skipped => self.skipped += 1,
            Status::Well => self.staged += 1,
            Status::Failed | Status::Late => {
                self.staged += 1;
                self.failed.push(name.to_owned());
            }
        }
        self.lost += counted("lost");
        self.duplicates += counted("duplicates");
    }
}

fn tell(name: &str, report: &Report, everything: bool) {
    let word = match report.status {
        Status::Well => "ok",
        Status::Skipped => "skipped",
        Status::Failed => "FAILED",
        Status::Late => "TOO LATE",
    };
    println!("{word:<8} {:>6.1} s  {name}", report.took.as_secs_f32());
    if everything {
        println!("{}", report.output);
        return;
    }
    for line in report.output.lines() {
        if line.starts_with("NOTE ") || line.starts_with("SKIPPED ") {
            println!("                   {}", line.split_once(' ').map_or(line, |(_, rest)| rest));
        }
    }
    if matches!(report.status, Status::Failed | Status::Late) {
        let lines: Vec<&str> = report.output.lines().collect();
        // The words of the first panic say what is wrong; the end says where it led.
        let first = lines.iter().position(|line| line.contains("panicked at")).unwrap_or(0);
        let head = &lines[first..lines.len().min(first + 25)];
        let tail = &lines[lines.len().saturating_sub(15).max(first + head.len()).min(lines.len())..];
        for line in head.iter().chain(tail) {
            println!("    | {line}");
        }
    }
}

/// Runs a cell in a process of its own.
pub(crate) fn in_process(name: &str, limit: Duration, environment: &[(&str, String)]) -> Report {
    let begun = Instant::now();
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), name);
    let path: PathBuf = std::env::temp_dir().join(format!("redress-chaos-{random:016x}.log"));
    let log = File::create(&path).expect("the temporary folder is writable");
    let errors = log.try_clone().expect("a file can be shared");
    let mut command = Command::new(std::env::current_exe().expect("we are a program"));
    command.args(["run-cell", name]).envs(environment.iter().map(|(k, v)| (k, v)));
    let mut child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("we can be started again");
    let status = loop {
        if let Ok(Some(status)) = child.try_wait() {
            break match status.code() {
                Some(0) => Status::Well,
                Some(code) if code == i32::from(SKIPPED) => Status::Skipped,
                _ => Status::Failed,
            };
        }
        if begun.elapsed() > limit {
            // What it started ends with it: each of its folders has a guard.
            let _ = child.kill();
            let _ = child.wait();
            break Status::Late;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let output = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
    let _ = std::fs::remove_file(&path);
    Report { status, output, took: begun.elapsed() }
}
