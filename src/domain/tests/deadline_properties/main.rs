//! A property is what holds of every deadline, whatever the rule, the start, the calendar and the waiting; cases are drawn by chance
//! from a seed, and a failure names the seed of its case.

mod case;
mod chance;
mod laws;
mod one_clock;
