//! Takes the lock-free code of shrike as it is, with loom's atomics in place of the standard ones.

use std::path::PathBuf;
use std::{env, fs};

/// What is tried, and what is changed in it: smaller numbers, so that all orders can be tried.
const TRIED: &[(&str, &[(&str, &str)])] = &[
    ("pipeline/board.rs", &[("const WINDOW: u64 = 256;", "const WINDOW: u64 = 4;")]),
    ("deliver/budget.rs", &[]),
    ("deliver/gate.rs", &[]),
    ("deliver/hold.rs", &[]),
    ("deliver/limiter.rs", &[]),
    ("deliver/nodes.rs", &[]),
    ("deliver/places.rs", &[]),
];

/// What these need and is not tried.
const NEEDED: &[&str] = &["metrics.rs", "event/offset.rs", "deliver/verdict.rs"];

fn main() {
    for (name, changes) in TRIED {
        let atomics = ("use std::sync::atomic::", "use loom::sync::atomic::");
        take(name, &[&[atomics], *changes].concat());
    }
    NEEDED.iter().for_each(|name| take(name, &[]));
}

fn take(name: &str, changes: &[(&str, &str)]) {
    let path = PathBuf::from("../../src").join(name);
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(&path).expect("the sources lie beside this package");
    let mut text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "{name}: `{from}` is there once");
        text = text.replace(from, to);
    }
    // What the room alone sees, the models see; a text that is included begins with no comment.
    text = text.replace("pub(super) ", "pub ").replace("pub(crate) ", "pub ");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("//!")).collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join(path.file_name().expect("it is a file")), lines.join("\n"))
        .expect("cargo made the folder");
}
