//! The configuration: what is read, what is refused, and in which words.

mod accepted;
mod any;
mod choosing;
mod effects;
mod forms;
mod intel;
mod paths;
mod places;
mod privacy;
mod refused;
mod routes;
mod sources;
mod tables;
mod world;
