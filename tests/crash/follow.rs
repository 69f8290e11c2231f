//! A followed file under kills: every line is in the log, and once.

use std::fs::{File, OpenOptions, rename};
use std::io::Write as _;
use std::path::Path;

use crate::destination::{Destination, Manner};
use crate::event::id;
use crate::kill::{kills, seeded};
use crate::place::{Place, READY, events, let_run};
use crate::wait::{PATIENCE, comes_true};

#[test]
fn a_followed_file_is_in_the_log_once_after_every_kill() {
    let mut chance = seeded();
    let one = Destination::start(Manner::Accept);
    let place = Place::new(&[("one", &one)], "");
    let path = place.path("events.jsonl");
    let input = format!("inputs=[{{type: file, path: {}, mode: append}}]", path.display());
    let args = ["--set", &input];
    let mut writer = Writer { file: create(&path), rest: Vec::new() };
    let mut next = 0;
    for round in 0..kills() {
        let shrike = place.run(&args);
        if chance.u8(..4) > 0 {
            shrike.wait_for(READY);
        }
        for _ in 0..chance.u32(1..6) {
            let events = events(next..next + PIECE_EVENTS);
            next += PIECE_EVENTS;
            // The cut may fall anywhere, as when the writer is killed as well.
            writer.write(&events, chance.usize(..events.len()));
            let_run(&mut chance, 0..120);
        }
        shrike.kill();
        // A file that shrike never saw is not looked for once it has another name.
        if chance.u8(..3) == 0 && place.events_in_log() > 0 {
            // Rotated while nobody looks; the writer goes on in a new file.
            writer.write(&[], 0);
            rename(&path, place.path(&format!("events.jsonl.{round}"))).expect("it is ours");
            writer.file = create(&path);
        }
    }
    writer.write(&[], 0);
    let shrike = place.run(&args);
    let all = || place.events_in_log() >= u64::from(next);
    assert!(comes_true(all), "{} of {next} events", place.events_in_log());
    assert!(comes_true(|| one.accepted().len() == next as usize), "{}", one.accepted().len());
    shrike.terminate();
    let account = shrike.ended(PATIENCE).with(0).account("one");
    assert_eq!(account.in_range, u64::from(next));
    assert_eq!(place.ids_in_log(), (0..next).map(id).collect::<Vec<_>>(), "once, in order");
}

/// A program that writes its events in pieces.
struct Writer {
    file: File,
    /// What the last piece left to be written.
    rest: Vec<u8>,
}

impl Writer {
    /// Writes all that is left over, and this up to a cut.
    fn write(&mut self, events: &[u8], cut: usize) {
        let (now, later) = events.split_at(cut);
        self.rest.extend_from_slice(now);
        self.file.write_all(&self.rest).expect("the directory is ours");
        self.rest = later.to_vec();
    }
}

fn create(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("the directory is ours")
}

/// Events that the writer has at a time; several chunks of what is read at once.
const PIECE_EVENTS: u32 = 500;
