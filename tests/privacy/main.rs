//! What nobody downstream may see: every rule, alone and together, on any event.

mod any;
mod leaks;
mod paths;
mod patterns;
mod world;
