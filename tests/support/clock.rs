//! A test's own clocks: the wall's is set, and time passes on both.

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
    /// By how much the wall clock differs from the machine's, and the steady one.
    seconds: [AtomicI64; 2],
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
        let clock = Self { file, path, library, seconds: [const { AtomicI64::new(0) }; 2] };
        clock.set(0);
        clock
    }

    /// What shows it to a process.
    pub(crate) fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.library.clone()), ("NEMESIS_CLOCK", self.path.clone())]
    }

    /// Sets the wall clock so many seconds before or behind the machine's; durations are untouched.
    pub(crate) fn set(&self, seconds: i64) {
        self.seconds[0].store(seconds, Ordering::Relaxed);
        self.show();
    }

    /// Sets the wall clock so many seconds ahead.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn leap(&self, seconds: i64) {
        self.seconds[0].fetch_add(seconds, Ordering::Relaxed);
        self.show();
    }

    /// Lets so many seconds pass at once.
    #[allow(dead_code, reason = "each test crate that shares this file uses a part of it")]
    pub(crate) fn pass(&self, seconds: i64) {
        self.seconds[1].fetch_add(seconds, Ordering::Relaxed);
        self.leap(seconds);
    }

    fn show(&self) {
        let ns = |it: &AtomicI64| (it.load(Ordering::Relaxed) * 1_000_000_000).to_ne_bytes();
        let bytes: Vec<u8> = self.seconds.iter().flat_map(ns).collect();
        self.file.write_all_at(&bytes, 0).expect("the directory is ours");
    }
}
