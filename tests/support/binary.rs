//! The binary as operators run it: a place for it, its commands, and a process that runs.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test crate that shares these files uses a part of them"
)]

mod clock;
mod equation;
mod fed;
mod place;
mod running;
mod wait;

pub(crate) use clock::Clock;
pub(crate) use equation::assert_equation_said;
pub(crate) use place::{Place, quiet};
pub(crate) use running::Running;
pub(crate) use wait::{PATIENCE, comes_true, wait_until};
