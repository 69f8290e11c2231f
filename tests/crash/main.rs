//! The real process under kills, damaged files and signals: nothing acknowledged is lost.
//!
//! `docs/proof.md` says what each test proves and how to run it for longer.

#[path = "../pipeline/destination.rs"]
mod destination;

mod calls;
mod clock;
mod disk;
#[path = "../support/equation.rs"]
mod equation;
#[path = "../support/event.rs"]
mod event;
#[path = "../support/fed.rs"]
mod fed;
mod follow;
mod kill;
#[path = "../support/clock.rs"]
mod leaping;
mod ledger;
mod place;
mod stop;
mod upgrade;
#[path = "../support/wait.rs"]
mod wait;
mod watched;
mod weather;
