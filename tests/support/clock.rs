//! A wall clock of a test's own, which leaps; durations are untouched.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

/// The clock that processes see whose environment has its variables.
pub(crate) struct Clock {
    file: File,
    path: PathBuf,
    library: PathBuf,
    seconds: AtomicI64,
}

impl Clock {
    /// Comes between processes and their clock; a C compiler is there, since building needs one.
    pub(crate) fn make(dir: &Path) -> Self {
        let source = "loadgen/src/scenario/nemesis/clock.c";
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let (path, library) = (dir.join("clock.offset"), dir.join("clock.so"));
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
        assert!(compile.status().expect("a C compiler").success());
        let file = File::create(&path).expect("the directory is ours");
        let clock = Self { file, path, library, seconds: AtomicI64::new(0) };
        clock.set(0);
        clock
    }

    /// What shows it to a process.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("NEMESIS_CLOCK", self.path.clone())]
    }

    /// So many seconds before or behind the machine's.
    pub(crate) fn set(&self, seconds: i64) {
        self.seconds.store(seconds, Ordering::Relaxed);
        let bytes = (seconds * 1_000_000_000).to_ne_bytes();
        self.file.write_all_at(&bytes, 0).expect("the directory is ours");
    }

    /// So many seconds later at once.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn leap(&self, seconds: i64) {
        self.set(self.seconds.load(Ordering::Relaxed) + seconds);
    }
}
