//! `redress-proof models` visits every state of every model; `redress-proof simulate` runs seeds.

use clap::{Args, Parser, Subcommand};
use redress_proof::models;
use redress_proof::simulate::{BROKEN, Broken, Lab};
use redress_store::Dialect;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Looks for lost, doubled or untrue outcomes.
#[derive(Parser)]
#[command(name = "redress-proof", version)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Visits every state of every model, and sees that every broken twin is found out
    Models,
    /// Runs the real store and the real decisions by seeds, with crashes between any two writes
    Simulate(Seeds),
}

#[derive(Args, Clone)]
struct Seeds {
    /// How many seeds
    #[arg(long = "seeds", default_value_t = 10_000)]
    count: u64,
    /// The first one
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// This seed alone, with its story
    #[arg(long, conflicts_with_all = ["count", "from"])]
    seed: Option<u64>,
    /// On a PostgreSQL that is started for it
    #[arg(long)]
    postgres: bool,
    /// With something broken on purpose: part of its name
    #[arg(long)]
    broken: Option<String>,
}

fn main() -> ExitCode {
    let Cli { what } = Cli::parse();
    let well = match what {
        What::Models => all_models(),
        What::Simulate(seeds) => simulate(&seeds),
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all_models() -> bool {
    let mut well = true;
    let (mut whole, mut twins) = (0, 0);
    for case in models::all() {
        let seen = case.exhaust();
        match case.twin {
            None => {
                whole += 1;
                println!("{}: {} states", case.model, seen.states);
                for (promise, story) in &seen.broken {
                    println!("  BROKEN: {promise}\n    {story}");
                }
                for possible in &seen.unreached {
                    println!("  NEVER HAPPENS: {possible}");
                }
                well &= seen.broken.is_empty() && seen.unreached.is_empty();
            }
            Some(twin) => {
                twins += 1;
                match seen.broken.first() {
                    Some((promise, story)) => {
                        println!("  twin \"{twin}\" is found out: not \"{promise}\"\n    {story}");
                    }
                    None => println!("  twin \"{twin}\" is NOT found out in {} states", seen.states),
                }
                well &= !seen.broken.is_empty();
            }
        }
    }
    println!("{whole} models, {twins} broken twins: {}", if well { "as it should be" } else { "FAILED" });
    well
}

fn simulate(asked: &Seeds) -> bool {
    let named = |broken: &&Broken| asked.broken.as_deref().is_some_and(|name| broken.what.contains(name));
    let broken = BROKEN.iter().find(named).copied();
    if let (Some(name), None) = (&asked.broken, broken) {
        eprintln!("nothing that is broken is called {name}; there are:");
        for broken in BROKEN {
            eprintln!("  {}", broken.what);
        }
        return false;
    }
    let (first, last) = asked.seed.map_or((asked.from, asked.from + asked.count), |seed| (seed, seed + 1));
    let threads = if asked.seed.is_some() { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let next = Arc::new(AtomicU64::new(first));
    let failed = Arc::new(AtomicBool::new(false));
    let sums: Arc<[AtomicUsize; 3]> = Arc::default();
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (asked, next, failed, sums) = (asked.clone(), next.clone(), failed.clone(), sums.clone());
            std::thread::spawn(move || one_thread(&asked, broken, &next, last, &failed, &sums))
        })
        .collect();
    let ended_well = threads.into_iter().all(|thread| thread.join().is_ok());
    let [requests, effects, crashes] = [0, 1, 2].map(|n| sums[n].load(Ordering::Relaxed));
    println!("{} seeds: {requests} requests, {effects} effects, {crashes} deaths of a process", last - first);
    let well = ended_well && !failed.load(Ordering::Relaxed);
    println!("{}", if well { "every promise was kept" } else { "FAILED" });
    well
}

fn one_thread(
    asked: &Seeds,
    broken: Option<Broken>,
    next: &AtomicU64,
    last: u64,
    failed: &AtomicBool,
    sums: &[AtomicUsize; 3],
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let dialect = if asked.postgres { Dialect::Postgres } else { Dialect::Sqlite };
        let lab = Lab::open(dialect).await.expect("a database");
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= last || failed.load(Ordering::Relaxed) {
                return;
            }
            match lab.run(seed, broken).await {
                Ok(run) => {
                    for (sum, n) in sums.iter().zip([run.requests, run.effects, run.crashes]) {
                        sum.fetch_add(n, Ordering::Relaxed);
                    }
                }
                Err(failure) => {
                    failed.store(true, Ordering::Relaxed);
                    println!("seed {seed}: {failure:?}");
                }
            }
        }
    });
}
