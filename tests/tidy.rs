//! The house rules that a compiler does not check.
//!
//! Rooms import down the table only, engine rooms name no vendor, files stay small, and nothing is
//! left for later. The rules and their reasons: the crate's front page.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, and what each may import beside [`LEAVES`].
const ROOMS: &[(&str, &[&str])] = &[
    ("metrics", &[]),
    ("protobuf", &[]),
    ("event", &[]),
    ("log", &["event"]),
    ("intake", &["event", "log"]),
    ("transform", &["event"]),
    ("deliver", &["event", "transform"]),
    // Feeds are asked over the transports of delivery.
    ("intel", &["event", "deliver"]),
    ("pipeline", &["event", "log", "intake", "transform", "deliver"]),
    ("dialects", &["event", "intake"]),
    ("schemas", &["event", "transform"]),
    ("vendors", &["event", "transform", "deliver", "schemas"]),
    (
        "config",
        &[
            "event",
            "log",
            "intake",
            "transform",
            "deliver",
            "intel",
            "pipeline",
            "dialects",
            "schemas",
            "vendors",
        ],
    ),
    (
        "control",
        &[
            "event",
            "log",
            "intake",
            "transform",
            "deliver",
            "intel",
            "pipeline",
            "schemas",
            "vendors",
            "config",
        ],
    ),
];

/// Rooms that import nothing and may be imported by all: counters, and the bytes of an encoding
/// that dialects read and vendors write.
const LEAVES: &[&str] = &["metrics", "protobuf"];

/// Rooms that serve every vendor alike.
const ENGINE: &[&str] =
    &["metrics", "protobuf", "event", "log", "intake", "transform", "deliver", "pipeline"];

#[test]
fn rooms_import_down_the_table_only() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        let Some((room, allowed)) = room_of(&file) else { continue };
        for (number, line) in code_lines(&file) {
            for other in imported_rooms(&line) {
                let is_leaf = LEAVES.contains(&other.as_str());
                if other != room && !is_leaf && !allowed.contains(&other.as_str()) {
                    wrong.push(format!("{}:{number}: {room} imports {other}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the table does not have:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    for file in sources("src") {
        let inside = file.strip_prefix(root().join("src")).expect("sources lie below src");
        let top = inside.components().next().expect("a file has a name").as_os_str();
        let name = top.to_string_lossy().replace(".rs", "");
        let shell = ["main", "lib", "cli"].contains(&name.as_str());
        assert!(
            shell || ROOMS.iter().any(|(room, _)| *room == name),
            "{} is in no room: add it to the table with its arrows, and to the front page",
            file.display()
        );
    }
}

#[test]
fn engine_rooms_name_no_vendor() {
    let vendors = ["elastic", "splunk", "datadog", "sumo", "pagerduty", "opsgenie", "slack"];
    let mut wrong = Vec::new();
    for file in sources("src") {
        let Some((room, _)) = room_of(&file) else { continue };
        if !ENGINE.contains(&room) {
            continue;
        }
        for (number, line) in code_lines(&file) {
            // prctl(2) calls the tolerance of timers their slack.
            let lower = line.to_lowercase().replace("timer_slack", "");
            if let Some(vendor) = vendors.iter().find(|vendor| lower.contains(**vendor)) {
                wrong.push(format!("{}:{number}: names {vendor}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "the engine knows a vendor:\n{}", wrong.join("\n"));
}

/// "Adding a vendor": one file, and two lines in the catalogue's front door.
#[test]
fn a_vendor_is_one_file_and_two_lines() {
    let door = "src/vendors/mod.rs";
    let catalogue = read(&root().join(door));
    let has_word = |line: &str, word: &str| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|it| it == word)
    };
    for vendor in shrike::vendors::ALL {
        let (name, constant) = (vendor.name, vendor.name.to_uppercase());
        let lines = catalogue.lines().filter(|line| has_word(line, name));
        let expected = [format!("pub mod {name};"), format!("    &{name}::{constant},")];
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{door}");
        let own = root().join("src/vendors");
        for file in sources("src").iter().filter(|file| !file.ends_with("vendors/mod.rs")) {
            let is_own =
                file == &own.join(format!("{name}.rs")) || file.starts_with(own.join(name));
            let path = format!("vendors::{name}");
            let names = |(_, line): &(usize, String)| {
                line.contains(&path) || (line.contains("vendors") && has_word(line, &constant))
            };
            let found = code_lines(file).into_iter().find(names);
            assert!(is_own || found.is_none(), "{} names {name}: {found:?}", file.display());
        }
        for dir in ["tests/golden", "docs/vendors"].iter().filter(|_| !vendor.options.is_empty()) {
            let place = root().join(dir).join(name);
            assert!(place.is_dir() || place.with_extension("md").is_file(), "{}", place.display());
        }
    }
}

#[test]
fn files_and_lines_stay_small() {
    let mut wrong = Vec::new();
    for file in all_sources() {
        let text = read(&file);
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines, at most {LINES_MAX}", file.display()));
        }
        for (number, line) in text.lines().enumerate() {
            // A text is not broken for the sake of a column.
            if line.chars().count() > COLUMNS_MAX && !line.contains('"') {
                wrong.push(format!(
                    "{}:{}: over {COLUMNS_MAX} columns",
                    file.display(),
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "too large:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in two parts, so that this file does not find itself.
    let marks =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["todo", "!("], ["unimplemented", "!("]];
    let marks = marks.map(|[a, b]| format!("{a}{b}"));
    let ignored = format!("#[{}", "ignore");
    let mut wrong = Vec::new();
    for file in all_sources() {
        for (number, line) in read(&file).lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) || line.contains(&ignored) {
                wrong.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "left for later:\n{}", wrong.join("\n"));
}

#[test]
fn whoever_decides_is_told_the_time() {
    let mut wrong = Vec::new();
    for name in DECIDING {
        let file = root().join("src").join(name);
        let asks = ["Instant::now", "SystemTime::now", "Time::now", "UNIX_EPOCH"];
        let lines = code_lines(&file).into_iter();
        let lines = lines.filter(|(_, line)| asks.iter().any(|ask| line.contains(ask)));
        wrong.extend(lines.map(|(number, line)| format!("{name}:{number}: {}", line.trim())));
    }
    assert!(wrong.is_empty(), "time is an argument there:\n{}", wrong.join("\n"));
}

/// What the simulation drives in virtual time, and no step of a wall clock can reach.
const DECIDING: &[&str] = &[
    "deliver/acks.rs",
    "deliver/act.rs",
    "deliver/answer.rs",
    "deliver/backoff.rs",
    "deliver/batch.rs",
    "deliver/budget.rs",
    "deliver/delivery.rs",
    "deliver/gate.rs",
    "deliver/hold.rs",
    "deliver/limiter.rs",
    "deliver/nodes.rs",
    "deliver/sender.rs",
    "deliver/watermark.rs",
    "intel/cache.rs",
    "intel/snapshot.rs",
    "intel/taxii.rs",
    "pipeline/board.rs",
    "pipeline/lag.rs",
];

#[test]
fn whoever_runs_the_engine_asserts_the_account() {
    let mut wrong = Vec::new();
    for dir in ["tests", "loadgen/tests"] {
        for entry in fs::read_dir(root().join(dir)).expect("the checkout is readable") {
            let path = entry.expect("the checkout is readable").path();
            let files = match path.is_dir() {
                true => sources(&path.to_string_lossy()),
                false => vec![path.clone()],
            };
            let text: String = files.iter().filter(|it| it.is_file()).map(|it| read(it)).collect();
            // Spelled in two parts, so that this file does not find itself.
            let runs = [["Engine::", "start("], ["BIN_EXE_", "shrike"]].map(|it| it.concat());
            let asserts = ["assert_", "equation"].concat();
            if runs.iter().any(|mark| text.contains(mark)) && !text.contains(&asserts) {
                wrong.push(format!("{} never asserts it", path.display()));
            }
            let ends = ["engine.", "end()"].concat();
            let lines = text.lines().filter(|line| line.contains(&ends));
            let silent = lines.filter(|line| !line.contains(&asserts));
            wrong.extend(silent.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }
    assert!(wrong.is_empty(), "tests/support/equation.rs is for them:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_stays_in_its_files() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        let inside = file.strip_prefix(root()).expect("sources lie below the root");
        let allowed = UNSAFE_FILES.iter().any(|(name, _)| inside == Path::new(name));
        for (number, line) in code_lines(&file) {
            let uses =
                ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| line.contains(word));
            if uses && !allowed {
                wrong.push(format!("{}:{number}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside its files:\n{}", wrong.join("\n"));
    for (name, reason) in UNSAFE_FILES {
        assert!(root().join(name).exists(), "{name} is gone; take it off the list ({reason})");
    }
}

#[test]
fn the_front_page_names_every_room() {
    let page = read(&root().join("src/lib.rs"));
    for (room, _) in ROOMS {
        assert!(page.contains(&format!("`{room}")), "src/lib.rs does not speak of `{room}`");
    }
}

/// Files that may use unsafe code, and why.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("src/deliver/deflate.rs", "vector instructions tell how far texts are alike"),
    ("src/deliver/socket/outstanding.rs", "the kernel tells what a peer has not acknowledged"),
    ("src/event/privacy/literals.rs", "vector instructions find where literals may begin"),
    ("src/event/privacy/marks.rs", "vector instructions tell classes of bytes apart"),
    ("src/event/scan.rs", "vector instructions find the ends of strings"),
    ("src/log/ring.rs", "io_uring reads buffers that we promise to keep"),
    ("src/log/segment.rs", "mapped files, and the guard against their disk failing"),
    ("src/transform/tail.rs", "documents are appended without a growth check per piece"),
];

/// A file that is longer holds two things.
const LINES_MAX: usize = 800;
/// Two files side by side on one screen.
const COLUMNS_MAX: usize = 100;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn all_sources() -> Vec<PathBuf> {
    ["src", "tests", "benches", "loadgen", "fuzz/fuzz_targets"]
        .iter()
        .flat_map(|dir| sources(dir))
        .collect()
}

/// Every Rust file below a folder of the project.
fn sources(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(dir)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("the checkout is readable").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn room_of(file: &Path) -> Option<(&'static str, &'static [&'static str])> {
    let inside = file.strip_prefix(root().join("src")).ok()?;
    let top = inside.components().next()?.as_os_str().to_string_lossy().replace(".rs", "");
    ROOMS.iter().find(|(room, _)| *room == top).copied()
}

/// Lines outside comments and outside the file's own tests, with their numbers.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    read(file)
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line.to_owned()))
        .collect()
}

/// The rooms that a line reaches into through `crate::`.
fn imported_rooms(line: &str) -> Vec<String> {
    line.split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}
