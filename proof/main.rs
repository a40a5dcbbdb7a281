//! `redress-proof models` visits every state of every model.

use clap::{Parser, Subcommand};
use redress_proof::models;
use std::process::ExitCode;

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
}

fn main() -> ExitCode {
    let Cli { what } = Cli::parse();
    let well = match what {
        What::Models => all_models(),
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
