//! The engine at work.
mod board;
