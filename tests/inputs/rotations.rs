//! Rotations between the looks of a process, and of one that is killed.

use std::fs;
use std::time::{Duration, SystemTime};

use super::{Host, append, lines, upto};

#[test]
fn rotations_right_after_the_first_look_are_found() {
    for pattern in ["a.log", "*.log"] {
        let mut host = Host::new();
        let path = host.path("a.log");
        append(&path, &lines(0..2));
        host.start(pattern, None);
        host.step();
        // What comes and goes before the second look was not there before the input.
        for (n, numbers) in [(2, 2..4), (1, 4..6)] {
            fs::rename(&path, host.path(&format!("a.log.{n}"))).expect("ours");
            append(&path, &lines(numbers));
        }
        assert_eq!(host.sorted(), upto(6), "{pattern}");
    }
}

#[test]
fn rotations_during_the_looks_of_a_process_that_is_killed_lose_nothing() {
    const FILES: u32 = 1_000;
    for pattern in ["a.log", "*.log"] {
        let mut host = Host::new();
        let path = host.path("a.log");
        append(&path, &lines([0]));
        host.start(pattern, None);
        assert_eq!(host.numbers(), [0]);
        let (writing, dir) = (path.clone(), host.dir.path().to_owned());
        let writer = std::thread::spawn(move || {
            for n in 1..FILES {
                fs::rename(&writing, dir.join(format!("a.log-{n:04}"))).expect("ours");
                append(&writing, &lines([n]));
            }
        });
        while !writer.is_finished() {
            host.start(pattern, None);
            host.step();
        }
        writer.join().expect("it writes");
        host.start(pattern, None);
        let found = host.sorted();
        let missing: Vec<u32> = upto(FILES).into_iter().filter(|n| !found.contains(n)).collect();
        assert_eq!((missing, found.len()), (vec![], FILES as usize), "{pattern}");
    }
}

#[test]
fn a_first_file_that_came_and_was_rotated_while_nobody_ran_is_found() {
    for pattern in ["a.log", "*.log"] {
        let mut host = Host::new();
        let path = host.path("a.log");
        append(&host.path("a.log.9"), &lines(900..902));
        let old = fs::File::options().append(true).open(host.path("a.log.9"));
        let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
        old.and_then(|file| file.set_modified(hour_ago)).expect("ours");
        host.start(pattern, None);
        assert_eq!(host.numbers(), upto(0), "nothing has come yet");
        let running = host.running.as_ref().expect("it runs");
        running.positions.save(&host.log).expect("the disk takes it");
        host.stop();
        append(&path, &lines(0..2));
        fs::rename(&path, host.path("a.log.1")).expect("ours");
        append(&path, &lines(2..4));
        host.start(pattern, None);
        assert_eq!(host.sorted(), upto(4), "{pattern}");
    }
}

#[test]
fn what_a_rotation_removes_at_last_is_no_loss() {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..2));
    host.start("a.log", None);
    assert_eq!(host.numbers(), upto(2));
    fs::rename(&path, host.path("a.log.1")).expect("ours");
    append(&path, &lines(2..4));
    assert_eq!(host.numbers(), upto(4));
    // Its writer is waited for, and then no more.
    host.now += Duration::from_secs(2 * 3_600);
    assert_eq!(host.numbers(), upto(4));
    fs::remove_file(host.path("a.log.1")).expect("ours");
    host.start("a.log", None);
    assert_eq!((host.numbers(), host.account().gaps), (upto(4), 0));
    // What was still waited for may have held more.
    fs::rename(&path, host.path("a.log.1")).expect("ours");
    append(&path, &lines(4..5));
    assert_eq!(host.numbers(), upto(5));
    host.stop();
    fs::remove_file(host.path("a.log.1")).expect("ours");
    host.start("a.log", None);
    assert_eq!((host.numbers(), host.account().gaps), (upto(5), 1));
    host.start("a.log", None);
    assert_eq!((host.numbers(), host.account().gaps), (upto(5), 0), "told once");
}

/// Of more files than are kept open the others are looked for by what they are.
#[test]
fn closed_files_that_are_renamed_together_are_read_to_their_ends() {
    const FILES: u32 = 600;
    let mut host = Host::new();
    for n in 0..FILES {
        append(&host.path(&format!("{n}.log")), &lines([n]));
    }
    host.start("*.log", None);
    assert_eq!(host.sorted(), upto(FILES));
    for n in 0..FILES {
        let path = host.path(&format!("{n}.log"));
        append(&path, &lines([FILES + n]));
        fs::rename(&path, host.path(&format!("{n}.log.1"))).expect("ours");
    }
    assert_eq!(host.sorted(), upto(2 * FILES));
    assert_eq!(host.account().gaps, 0);
}

/// A copy that was made before the last lines were written holds nothing new, whoever sees the cut.
#[test]
fn a_copy_that_was_made_too_early_repeats_nothing() {
    for pattern in ["a.log", "*.log"] {
        let mut host = Host::new();
        let path = host.path("a.log");
        append(&path, &lines(0..3));
        host.start(pattern, None);
        assert_eq!(host.numbers(), upto(3));
        fs::copy(&path, host.path("a.log.1")).expect("ours");
        append(&path, &lines(3..5));
        // Files are read now, and paths are looked at later.
        host.step();
        fs::write(&path, lines(5..6)).expect("ours");
        assert_eq!((host.numbers(), host.account().gaps), (upto(6), 1), "{pattern}");
    }
}
