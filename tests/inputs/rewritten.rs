//! Files that their writers truncate and write anew for each event.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use super::{Host, Mode, append, claws, rewrite, upto};

#[test]
fn a_rewritten_file_without_line_ends_takes_no_memory() {
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    let mut host = Host::new();
    let path = host.path("audit.jsonl");
    rewrite(&path, &claws(0..2));
    host.start("audit.jsonl", None);
    assert_eq!(host.numbers(), upto(2));
    let before = resident();
    let grown = |path: &Path| {
        let file = OpenOptions::new().write(true).open(path).expect("it is there");
        file.set_len(file.metadata().expect("ours").len() + LONG_BYTES)
            .expect("the disk has holes");
    };
    grown(&path);
    assert_eq!(host.numbers(), upto(2));
    let after = resident();
    // A buffer of the whole line would have 64 MiB; tests beside this one take some as well.
    assert!(after < before + (44 << 10), "{before} KiB became {after} KiB");
    append(&path, &format!("\n{}", claws(2..4)));
    assert_eq!(host.numbers(), upto(4), "goes on behind it");
    assert_eq!(host.account().rejected, 1);
    // Written again with a line less: its refusal is known.
    rewrite(&path, &claws(0..1));
    grown(&path);
    append(&path, &format!("\n{}", claws(2..5)));
    assert_eq!(host.numbers(), upto(5));
    assert_eq!(host.account().rejected, 1);
}

#[test]
fn a_file_that_is_rewritten_for_each_event_repeats_nothing() {
    let mut host = Host::new();
    let path = host.path("audit.jsonl");
    rewrite(&path, &claws(0..1));
    host.start("audit.jsonl", None);
    assert_eq!(host.numbers(), [0], "its first line tells the mode");
    for n in 1..30 {
        // A look may fall at any moment of the writing.
        let text = claws(0..=n);
        let mut file = File::create(&path).expect("ours");
        host.step();
        for piece in text.as_bytes().chunks(700) {
            file.write_all(piece).expect("ours");
            host.step();
        }
        assert_eq!(host.numbers(), upto(n + 1));
    }
    // Two processes overwrote each other: a line vanished, another one came.
    rewrite(&path, &(claws(0..20) + &claws(21..31)));
    assert_eq!(host.numbers(), upto(31));
    host.start("audit.jsonl", None);
    rewrite(&path, &(claws(0..20) + &claws(21..32)));
    assert_eq!(host.numbers(), upto(32), "nor after a restart");
    rewrite(&path, "");
    assert_eq!(host.numbers(), upto(32), "cleared");
    rewrite(&path, &claws(32..34));
    assert_eq!(host.numbers(), upto(34));
}

/// Of more files than are kept open each is closed between two looks.
#[test]
fn rewritten_files_without_the_last_line_are_read_however_many_there_are() {
    const FILES: u32 = 600;
    let mut host = Host::new();
    for n in 0..FILES {
        rewrite(&host.path(&format!("{n}.jsonl")), &claws([n]));
    }
    host.start("*.jsonl", Some(Mode::Rewrite));
    assert_eq!(host.sorted(), upto(FILES));
    for n in 0..FILES {
        rewrite(&host.path(&format!("{n}.jsonl")), &claws([FILES + n]));
    }
    assert_eq!(host.sorted(), upto(2 * FILES));
}

/// Bytes of a line that is longer than any.
const LONG_BYTES: u64 = 48 << 20;
