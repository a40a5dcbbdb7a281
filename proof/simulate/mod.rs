//! A seeded simulation: one number is one run of a small fleet on the real store, with its real statements on a real database
//! and the real decisions of `domain` and `jobs`, in a world of connected systems that keep a journal of their own.
//!
//! One thread, one dice, clocks that stand still until they are moved: the same seed is the same run. What is random in the
//! store comes from the seed too, and so does the write at which a process dies. What is left out: the HTTP layer, apalis,
//! real connectors (the conformance suite has them), and what happens *during* another's transaction (the models have it).

mod broken;
mod dice;
mod fleet;
mod invariants;
mod lab;
mod people;
mod worker;
mod world;

pub use broken::{ALL as BROKEN, Broken, Fault};
pub use lab::Lab;

use dice::Dice;
use fleet::{Fleet, KEEP};
use people::Person;
use redress_domain::ControllerId;
use redress_store::simulation;
use std::fmt;
use std::time::Duration;
use world::World;

/// Operations of one run before everything is let run to its end.
const LENGTH: usize = 70;

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Run {
    /// Requests that were accepted.
    pub requests: usize,
    /// Changes in connected systems.
    pub effects: usize,
    /// Processes that died.
    pub crashes: usize,
    /// How often what is broken on purpose made a difference.
    pub mutated: u64,
}

/// A promise that was not kept.
pub struct Failure {
    /// The run's seed.
    pub seed: u64,
    /// Which promise.
    pub promise: String,
    /// What was done.
    pub story: Vec<String>,
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n\nreplay it with\n  cargo run -p redress-proof --release -- simulate --seed {}\n\n{}",
            self.promise,
            self.seed,
            self.story.join("\n")
        )
    }
}

/// One run.
struct Simulation {
    dice: Dice,
    lab: lab::Side,
    fleet: Fleet,
    ctl: ControllerId,
    world: World,
    people: Vec<Person>,
    fault: Option<Fault>,
    tokens: std::collections::BTreeMap<String, i64>,
    definition: u64,
    /// When a second read can be trusted.
    verify_after: Duration,
    /// Nothing goes wrong any more: everything is to come to its end.
    calm: bool,
    story: Vec<String>,
}

/// A sentence about what was not kept.
type Broke = String;

impl Lab {
    /// Makes one run.
    ///
    /// # Errors
    /// The promise that was not kept.
    pub async fn run(&self, seed: u64, broken: Option<Broken>) -> Result<Run, Failure> {
        let mutant = broken.and_then(|b| b.mutant);
        simulation::begin(seed, mutant);
        let mut dice = Dice::new(seed);
        let place = self.place(seed, mutant).await;
        let fleet =
            Fleet::start(place.url.clone(), place.clock.clone(), &mut dice).await.expect("the database is there");
        fleet.travel(0);
        let verify_after = Duration::from_secs(dice.pick(&[0, 0, 2]));
        let mut it = Simulation {
            dice,
            ctl: place.ctl.clone(),
            lab: place,
            fleet,
            world: World::new(),
            people: Vec::new(),
            fault: broken.and_then(|b| b.fault),
            tokens: std::collections::BTreeMap::new(),
            definition: 0,
            verify_after,
            calm: false,
            story: Vec::new(),
        };
        let came = Box::pin(it.whole()).await;
        let run = Run {
            requests: it.people.iter().filter(|p| p.id.is_some()).count(),
            effects: it.world.journal.len(),
            crashes: it.fleet.crashes,
            mutated: simulation::mutated().unwrap_or_else(|text| panic!("the mutant no longer fits: {text}")),
        };
        for process in &it.fleet.processes {
            process.store.close().await;
        }
        it.lab.close().await;
        came.map(|()| run).map_err(|promise| Failure { seed, promise, story: it.story })
    }
}

impl Simulation {
    fn tell(&mut self, what: impl std::fmt::Display) {
        let at = self.fleet.clock_text();
        self.story.push(format!("{at} {what}"));
    }

    async fn whole(&mut self) -> Result<(), Broke> {
        for n in 0..LENGTH {
            self.act().await?;
            if n % 5 == 0 {
                self.tokens_only_grow().await?;
            }
        }
        self.settle().await?;
        self.check().await?;
        self.purge().await
    }

    async fn act(&mut self) -> Result<(), Broke> {
        match self.dice.below(40) {
            0..=2 => self.submit().await,
            3..=5 => self.advance().await,
            6..=10 => self.claim().await,
            11..=26 => self.work().await,
            27 | 28 | 37 => {
                self.mischief();
                Ok(())
            }
            29 => self.renew().await,
            30 | 31 => {
                let ms = self.dice.pick(&[100, 1_000, 5_000, 13_000, 60_000, 3_600_000, 40_000_000]);
                self.fleet.travel(ms);
                self.tell(format!("{ms} ms pass"));
                Ok(())
            }
            32 => self.sweep().await,
            33 | 34 => self.decide().await,
            35 => self.change_clock().await,
            36 => self.change_system().await,
            38 => self.hand_back().await,
            _ => {
                let process = self.dice.below(self.fleet.processes.len());
                self.die(process).await;
                Ok(())
            }
        }
    }

    async fn die(&mut self, process: usize) {
        let life = self.fleet.processes[process].life;
        self.fleet.crash(process).await;
        self.died(process, life);
    }

    /// What a process that died had locked in connected systems is free.
    fn died(&mut self, process: usize, life: u32) {
        self.world.unlock((process, life));
        self.tell(format!("process {process} dies"));
    }

    /// A connected system's own doings.
    fn mischief(&mut self) {
        let Some(person) = self.some_person() else { return };
        if self.dice.one_in(2) {
            self.world.carry_out(2, person);
            self.tell(format!("the vendor carries out what was ordered for {person}"));
            return;
        }
        if let Some((place, person)) = self.world.restorable(self.dice.below(8)) {
            let held = self.world.at(place, person);
            (held.has, held.restored) = (held.had, 1);
            self.tell(format!("system {place} restores {person}"));
        }
    }

    fn some_person(&mut self) -> Option<usize> {
        let n = self.people.len();
        (n > 0).then(|| self.dice.below(n))
    }

    /// Nobody dies any more, everybody is answered, people decide, and time passes until nothing is open.
    async fn settle(&mut self) -> Result<(), Broke> {
        self.fleet.crash_one_in = None;
        self.calm = true;
        for process in 0..self.fleet.processes.len() {
            self.die(process).await;
        }
        self.tell("from here on nothing goes wrong");
        self.submit_again().await?;
        for round in 0..60 {
            let wait = [13_000, 60_000, 1_000_000, 3_600_000][round % 4];
            self.fleet.travel(wait);
            self.world_carries_out();
            self.decide_all().await?;
            self.sweep_all().await?;
            for _ in 0..200 {
                let before = self.story.len();
                self.advance().await?;
                self.claim().await?;
                if self.nobody_holds() {
                    // Whoever looks may look last: once more.
                    self.advance().await?;
                    self.claim().await?;
                    if self.nobody_holds() {
                        break;
                    }
                }
                while !self.nobody_holds() && self.story.len() < before + 400 {
                    self.work().await?;
                }
            }
            if self.open().await == 0 {
                return Ok(());
            }
        }
        Err(format!("nothing is lost: {} still open after everything was done for them", self.open_ones().await))
    }

    fn world_carries_out(&mut self) {
        for person in 0..self.people.len() {
            self.world.carry_out(2, person);
        }
    }

    fn nobody_holds(&self) -> bool {
        self.fleet.processes.iter().all(|p| p.held.is_empty())
    }

    /// After the time after the end, nothing personal is left.
    async fn purge(&mut self) -> Result<(), Broke> {
        self.fleet.travel(KEEP + 600_000);
        self.sweep_all().await?;
        self.nothing_personal_is_left().await
    }
}
