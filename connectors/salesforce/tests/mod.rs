//! Against the simulated org, whose own view decides.

mod budget;
mod conforming;
mod deleting;
mod finding;
mod injecting;
mod lab;
mod troubling;
