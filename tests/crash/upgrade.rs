//! A new version on the state directory of an old one.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::destination::{Destination, Manner};
use crate::event::id;
use crate::place::{Place, READY, events};
use crate::wait::{PATIENCE, comes_true};

/// Written by the binary of commit 819c959, in three runs. One read a file of 100 events and a line
/// that is none, and ended in order: `one` had refused six, `two` could not be reached. Then 50
/// events were appended. One more run was killed while `one` answered nothing.
const STATE: &str = "tests/fixtures/state-819c959.tar.gz";

/// Where a control page says in which running of the kernel the log was opened.
const BOOT_AT: u64 = 56;

#[test]
fn the_state_of_an_earlier_version_is_continued() {
    let (one, two) = (Destination::start(Manner::Refuse('7')), Destination::start(Manner::Accept));
    let place = Place::new(&[("one", &one), ("two", &two)], "");
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(STATE);
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(place.path(""));
    assert!(tar.status().expect("tar is installed").success());
    // No kernel that runs now has left it, whichever machine this is.
    for log in ["log", "dlq/one", "dlq/two", "quarantine"] {
        let control = place.path("state").join(log).join("control");
        let control = OpenOptions::new().write(true).open(control).expect("it is in the archive");
        control.write_all_at(&[0; 16], BOOT_AT).expect("the directory is ours");
    }
    // The file has grown, and another number here.
    let path = place.path("events.jsonl");
    let lines = [events(0..100), b"{\"event_id\": no event\n".to_vec(), events(150..160)];
    fs::write(&path, lines.concat()).expect("the directory is ours");
    let file = fs::metadata(&path).expect("it was written");
    let positions = place.path("state/inputs.json");
    let text = fs::read(&positions).expect("it is in the archive");
    let mut saved: Value = serde_json::from_slice(&text).expect("it is JSON");
    saved["positions"][0]["device"] = file.dev().into();
    saved["positions"][0]["inode"] = file.ino().into();
    fs::write(&positions, saved.to_string()).expect("the directory is ours");

    let input = format!("inputs=[{{type: file, path: {}, mode: append}}]", path.display());
    // However old the archive is by now.
    let ages = ["one", "two"].map(|name| format!("exporters.{name}.dlq.max_age_days=3650"));
    let set = ["--set", &input, "--set", &ages[0], "--set", &ages[1]];
    let shrike = place.run(&set);
    shrike.wait_for(READY);
    let have_all = || (one.accepted().len(), two.accepted().len()) == (56, 160);
    assert!(comes_true(have_all), "{} and {}", one.accepted().len(), two.accepted().len());
    let letters = || {
        let list = place.ran(&["dlq", "list", "--json"]);
        String::from_utf8_lossy(&list.stdout).lines().count()
    };
    assert!(comes_true(|| letters() == 10), "{} letters", letters());
    one.turn(Manner::Accept);
    let replay = place.ran(&["dlq", "replay", "--exporter", "one"]);
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    assert_eq!(letters(), 0);
    shrike.terminate();
    // 0: what this run gave up was replayed.
    let ended = shrike.ended(PATIENCE).with(0).saying(&["left open when the machine went down"]);
    for name in ["one", "two"] {
        let account = ended.account(name);
        let expected = (160, 160, 0);
        let found = (account.in_range, account.counts.delivered, account.pending);
        assert_eq!(found, expected, "{name}: {account:?}\n{}", ended.said);
        assert_eq!(account.duplicates, 0, "{name}: {account:?}");
    }
    // Those that the old one delivered were not sent again, nor were those of the file appended.
    let first = (0..100).map(id).filter(|id| one.accepted().contains_key(id)).count();
    assert_eq!(first, 6, "the letters");
    let kept = place.ran(&["log", "quarantine", "list", "--json"]);
    assert_eq!(String::from_utf8_lossy(&kept.stdout).lines().count(), 1);
    let audit = place.ran(&["audit", "verify"]);
    let said = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert!(audit.status.success(), "{said}");
}
