//! What nobody downstream may see: every rule, alone and together, on any event.

mod any;
#[path = "../support/equation.rs"]
mod equation;
mod leaks;
mod paths;
mod patterns;
mod raw;
mod sources;
mod world;
