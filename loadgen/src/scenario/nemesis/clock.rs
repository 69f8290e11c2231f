//! A wall clock that can be stepped, for one process alone.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::super::bench::{Bench, ScenarioError};
use crate::hint;

/// The difference between the machine's clock and the one that shrike sees.
pub(super) struct Clock {
    offset: File,
    path: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// Nothing where there is no C compiler, which is said aloud: what comes between a process and
    /// its clock is in C.
    pub(super) fn make(bench: &Bench) -> Result<Option<Self>, ScenarioError> {
        let source = bench.write("clock.c", SOURCE)?;
        let (path, library) = (bench.path("clock.offset"), bench.path("clock.so"));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .stdin(Stdio::null())
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            hint("there is no C compiler `cc` here: no clock is stepped");
            return Ok(None);
        }
        let error = || ScenarioError::io(format!("write {}", path.display()));
        let offset = File::create(&path).map_err(error())?;
        let clock = Self { offset, path, library };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// What a process needs to see it.
    pub(super) fn env(&self) -> Vec<(&'static str, PathBuf)> {
        vec![("LD_PRELOAD", self.library.clone()), ("NEMESIS_CLOCK", self.path.clone())]
    }

    /// Sets the clock to so many seconds before or behind the machine's.
    pub(super) fn set(&self, seconds: i64) -> Result<(), ScenarioError> {
        let bytes = (seconds * 1_000_000_000).to_ne_bytes();
        let error = ScenarioError::io(format!("write {}", self.path.display()));
        self.offset.write_all_at(&bytes, 0).map_err(error)
    }
}

const SOURCE: &str = include_str!("clock.c");
