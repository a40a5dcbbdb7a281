//! What a simulation decides instead of the machine: what time the database has, what is random, at which write a process
//! dies, and what is broken on purpose. Without the `simulation` feature all of it is nothing.
//!
//! It holds for the thread that says so, and for every store that is used on it. A process that died stays dead: whatever
//! its tasks still try fails, until the simulation starts it again.

#[cfg(not(feature = "simulation"))]
#[expect(clippy::unnecessary_wraps, reason = "in a simulation they fail")]
mod is {
    use crate::Error;
    use crate::db::Dialect;
    use std::sync::Arc;

    pub(crate) fn statement(_: Dialect, sql: Arc<str>) -> Result<Arc<str>, Error> {
        Ok(sql)
    }

    pub(crate) const fn write() -> Result<(), Error> {
        Ok(())
    }

    pub(crate) const fn commits(_: &str) -> Result<bool, Error> {
        Ok(true)
    }

    pub(crate) const fn fill(_: &mut [u8]) -> bool {
        false
    }
}

#[cfg(feature = "simulation")]
mod is {
    use crate::Error;
    use crate::db::Dialect;
    use std::cell::RefCell;
    use std::sync::Arc;

    /// What is broken on purpose, to see that the simulation finds it.
    #[derive(Debug, Clone, Copy)]
    pub enum Mutant {
        /// In the statement of each first name the second text is replaced by the third.
        Texts(&'static [(&'static str, &'static str, &'static str)]),
        /// A transaction of this name says that it is committed and is not.
        Uncommitted(&'static str),
    }

    #[derive(Default)]
    struct Simulation {
        now_ms: Option<i64>,
        random: Option<u64>,
        dies_in: Option<u32>,
        dead: bool,
        mutant: Option<Mutant>,
        mutated: u64,
        stale: Option<String>,
    }

    thread_local! {
        static IT: RefCell<Simulation> = RefCell::default();
    }

    fn with<T>(what: impl FnOnce(&mut Simulation) -> T) -> T {
        IT.with(|it| what(&mut it.borrow_mut()))
    }

    /// Begins a simulation on this thread: all randomness comes from the seed.
    pub fn begin(seed: u64, mutant: Option<Mutant>) {
        with(|it| *it = Simulation { random: Some(seed), mutant, ..Simulation::default() });
    }

    /// Sets the clock that every database on this thread goes by (Unix ms).
    pub fn set_database_clock(now_ms: i64) {
        with(|it| it.now_ms = Some(now_ms));
    }

    /// Lets the process that runs on this thread die before the write after so many others; begins, statements and both
    /// sides of a commit count as one each.
    pub fn die_in(writes: u32) {
        with(|it| it.dies_in = Some(writes));
    }

    /// Whether it died; it lives again afterwards, and nothing is planned for it.
    pub fn revive() -> bool {
        with(|it| {
            it.dies_in = None;
            std::mem::take(&mut it.dead)
        })
    }

    /// How often the mutant made a difference.
    ///
    /// # Errors
    /// The text of the statement that no longer holds what the mutant replaces.
    pub fn mutated() -> Result<u64, String> {
        with(|it| it.stale.clone().map_or(Ok(it.mutated), Err))
    }

    fn died() -> Error {
        sqlx::Error::PoolClosed.into()
    }

    pub(crate) fn statement(dialect: Dialect, sql: Arc<str>) -> Result<Arc<str>, Error> {
        with(|it| {
            if it.dead {
                return Err(died());
            }
            let mut text = sql;
            if let Some(Mutant::Texts(all)) = it.mutant {
                let name = text.strip_prefix("-- ").and_then(|rest| rest.lines().next()).unwrap_or_default().to_owned();
                let own: Vec<_> = all.iter().filter(|(statement, ..)| *statement == name).collect();
                for (_, from, to) in &own {
                    if text.contains(from) {
                        text = text.replace(from, to).into();
                    } else {
                        it.stale = Some(text.to_string());
                    }
                }
                it.mutated += u64::from(!own.is_empty());
            }
            match it.now_ms {
                Some(now) if text.contains(dialect.now_expr()) => {
                    Ok(text.replace(dialect.now_expr(), &format!("CAST({now} AS BIGINT)")).into())
                }
                _ => Ok(text),
            }
        })
    }

    pub(crate) fn write() -> Result<(), Error> {
        with(|it| {
            it.dies_in = match it.dies_in {
                Some(0) => {
                    it.dead = true;
                    None
                }
                left => left.map(|n| n - 1),
            };
            if it.dead { Err(died()) } else { Ok(()) }
        })
    }

    pub(crate) fn commits(name: &str) -> Result<bool, Error> {
        write()?;
        with(|it| {
            let lies = matches!(it.mutant, Some(Mutant::Uncommitted(wanted)) if wanted == name);
            it.mutated += u64::from(lies);
            Ok(!lies)
        })
    }

    pub(crate) fn fill(bytes: &mut [u8]) -> bool {
        with(|it| {
            let Some(state) = &mut it.random else { return false };
            for byte in bytes {
                // SplitMix64: small, and every seed is as good as another.
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                *byte = (z ^ (z >> 31)) as u8;
            }
            true
        })
    }
}

#[cfg(feature = "simulation")]
pub use is::{Mutant, begin, die_in, mutated, revive, set_database_clock};
pub(crate) use is::{commits, fill, statement, write};
