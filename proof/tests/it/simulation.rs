//! Seeded runs keep every promise; what is broken on purpose is found.

use redress_proof::simulate::{BROKEN, Lab};
use redress_store::Dialect;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds of a normal test run; the nightly command takes ten thousand.
const SEEDS: u64 = 500;
const THREADS: u64 = 2;

/// Each thread has a runtime of its own: a run is one thread.
fn on_a_thread<T: Send + 'static>(what: impl AsyncFnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(what())
    })
}

#[test]
fn every_seed_keeps_every_promise() {
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            on_a_thread(async move || {
                let lab = Lab::open(Dialect::Sqlite).await.expect("a lab");
                let (mut requests, mut effects, mut crashes) = (0, 0, 0);
                for seed in (thread..SEEDS).step_by(THREADS as usize) {
                    let run = lab.run(seed, None).await.unwrap_or_else(|failure| panic!("{failure:?}"));
                    requests += run.requests;
                    effects += run.effects;
                    crashes += run.crashes;
                }
                (requests, effects, crashes)
            })
        })
        .collect();
    let mut all = (0, 0, 0);
    for thread in threads {
        let (requests, effects, crashes) = thread.join().expect("see above");
        all = (all.0 + requests, all.1 + effects, all.2 + crashes);
    }
    println!("{SEEDS} seeds: {} requests, {} effects, {} deaths of a process", all.0, all.1, all.2);
    assert!(all.0 > 500 && all.1 > 500 && all.2 > 500, "the runs do something");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let runs = on_a_thread(async || {
        let lab = Lab::open(Dialect::Sqlite).await.expect("a lab");
        let mut runs = Vec::new();
        for seed in [3, 4, 3, 4] {
            runs.push(lab.run(seed, None).await.expect("kept"));
        }
        runs
    });
    let runs = runs.join().expect("it ran");
    assert_eq!((runs[0], runs[1]), (runs[2], runs[3]));
}

#[test]
fn what_is_broken_on_purpose_is_found() {
    let next = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let next = next.clone();
            on_a_thread(async move || {
                let lab = Lab::open(Dialect::Sqlite).await.expect("a lab");
                let mut unseen = Vec::new();
                while let Some(broken) = BROKEN.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut found = None;
                    // The one that found it before, then all of them.
                    for seed in std::iter::once(broken.seed).chain(0..SEEDS) {
                        if let Err(failure) = lab.run(seed, Some(*broken)).await {
                            found = Some((seed, failure.promise));
                            break;
                        }
                    }
                    match found {
                        Some((seed, promise)) => println!("{}: found by seed {seed}: {promise}", broken.what),
                        None => unseen.push(broken.what),
                    }
                }
                unseen
            })
        })
        .collect();
    let unseen: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().expect("it ran")).collect();
    assert!(unseen.is_empty(), "not found: {unseen:?}");
}
