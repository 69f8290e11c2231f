//! Rotations that compress what they put aside.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Host, append, lines, upto};

/// Compresses a file as gzip and zstd do: the time is kept, and the name is longer.
fn pack(path: &Path, ending: &str) {
    let metadata = fs::metadata(path).expect("it is there");
    let text = fs::read(path).expect("it is ours");
    let packed = match ending {
        "gz" => {
            use std::io::Write as _;
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(&text).expect("memory");
            out.finish().expect("memory")
        }
        _ => zstd::encode_all(&text[..], 1).expect("memory"),
    };
    let name = format!("{}.{ending}", path.display());
    fs::write(&name, packed).expect("it is ours");
    let file = File::options().append(true).open(&name).expect("it is ours");
    file.set_modified(metadata.modified().expect("it has one")).expect("it is ours");
    fs::remove_file(path).expect("it is ours");
}

/// An input that has read so many lines of `a.log`.
#[track_caller]
fn begun(pattern: &str, count: u32) -> (Host, PathBuf) {
    let mut host = Host::new();
    let path = host.path("a.log");
    append(&path, &lines(0..count));
    host.start(pattern, None);
    assert_eq!(host.sorted(), upto(count), "{pattern}");
    (host, path)
}

/// Every way in which the file may be named and compressed.
fn each(check: impl Fn(&str, &str)) {
    for pattern in ["a.log", "*.log", "a.log*"] {
        for ending in ["gz", "zst"] {
            check(pattern, ending);
        }
    }
}

/// Starts again, as after a kill, and finds nothing that came before.
#[track_caller]
fn settled(host: &mut Host, pattern: &str, count: u32) {
    for _ in 0..2 {
        host.start(pattern, None);
        assert_eq!(host.sorted(), upto(count), "{pattern}");
    }
    assert_eq!(host.account().gaps, 0, "{pattern}");
}

#[test]
fn what_was_rotated_and_compressed_while_nobody_ran_is_read() {
    each(|pattern, ending| {
        let (mut host, path) = begun(pattern, 3);
        host.stop();
        append(&path, &lines(3..5));
        fs::rename(&path, host.path("a.log.2")).expect("ours");
        pack(&host.path("a.log.2"), ending);
        append(&path, &lines(5..7));
        fs::rename(&path, host.path("a.log.1")).expect("ours");
        pack(&host.path("a.log.1"), ending);
        append(&path, &lines(7..9));
        settled(&mut host, pattern, 9);
    });
}

#[test]
fn what_was_cut_off_is_read_from_a_compressed_copy() {
    each(|pattern, ending| {
        let (mut host, path) = begun(pattern, 3);
        host.stop();
        append(&path, &lines(3..6));
        fs::copy(&path, host.path("a.log.1")).expect("ours");
        pack(&host.path("a.log.1"), ending);
        File::options().write(true).open(&path).expect("ours").set_len(0).expect("ours");
        append(&path, &lines(6..20));
        settled(&mut host, pattern, 20);
    });
}

#[test]
fn rotations_between_two_looks_are_found_although_they_were_compressed() {
    each(|pattern, ending| {
        let mut host = Host::new();
        let path = host.path("a.log");
        append(&path, &lines(0..2));
        host.start(pattern, None);
        host.step();
        for (n, numbers) in [(3, 2..4), (2, 4..6), (1, 6..8)] {
            let rotated = host.path(&format!("a.log.{n}"));
            fs::rename(&path, &rotated).expect("ours");
            pack(&rotated, ending);
            append(&path, &lines(numbers));
        }
        assert_eq!(host.sorted(), upto(8), "{pattern}");
        settled(&mut host, pattern, 8);
    });
}

#[test]
fn what_was_read_before_it_was_compressed_repeats_nothing() {
    each(|pattern, ending| {
        let mut host = Host::new();
        let path = host.path("a.log");
        // Older than this input.
        append(&host.path("a.log.9"), &lines(900..902));
        pack(&host.path("a.log.9"), ending);
        append(&path, &lines(0..2));
        host.start(pattern, None);
        assert_eq!(host.sorted(), upto(2), "{pattern}");
        fs::rename(&path, host.path("a.log.1")).expect("ours");
        append(&path, &lines(2..4));
        assert_eq!(host.sorted(), upto(4), "{pattern}");
        // While it runs, and while it does not.
        pack(&host.path("a.log.1"), ending);
        assert_eq!(host.sorted(), upto(4), "{pattern}");
        fs::rename(&path, host.path("a.log.1")).expect("ours");
        append(&path, &lines(4..6));
        assert_eq!(host.sorted(), upto(6), "{pattern}");
        host.stop();
        pack(&host.path("a.log.1"), ending);
        settled(&mut host, pattern, 6);
    });
}

/// Keeps copies from being unpacked, as a full disk does, until it is dropped.
struct Full(Vec<PathBuf>);

impl Full {
    fn new(host: &Host) -> Self {
        let names: Vec<PathBuf> = (0..1024).map(|n| host.path(&format!("unpacked.{n}"))).collect();
        names.iter().for_each(|name| fs::write(name, "").expect("ours"));
        Self(names)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.0.iter().for_each(|name| fs::remove_file(name).expect("ours"));
    }
}

#[test]
fn a_rotated_file_that_cannot_be_unpacked_now_is_read_later() {
    each(|pattern, ending| {
        let (mut host, path) = begun(pattern, 2);
        for (n, numbers) in [(2, 2..4), (1, 4..6)] {
            let rotated = host.path(&format!("a.log.{n}"));
            fs::rename(&path, &rotated).expect("ours");
            pack(&rotated, ending);
            append(&path, &lines(numbers));
        }
        let full = Full::new(&host);
        assert_eq!(host.sorted(), [0, 1, 4, 5], "{pattern}");
        drop(full);
        host.now += Duration::from_secs(6);
        settled(&mut host, pattern, 6);
    });
}

#[test]
fn a_cut_waits_for_a_copy_that_cannot_be_unpacked_now() {
    each(|pattern, ending| {
        for is_running in [true, false] {
            let (mut host, path) = begun(pattern, 2);
            if !is_running {
                host.stop();
            }
            append(&path, &lines(2..4));
            fs::copy(&path, host.path("a.log.1")).expect("ours");
            pack(&host.path("a.log.1"), ending);
            File::options().write(true).open(&path).expect("ours").set_len(0).expect("ours");
            append(&path, &lines(4..5));
            let full = Full::new(&host);
            if !is_running {
                host.start(pattern, None);
            }
            assert_eq!(host.sorted(), upto(2), "{pattern}");
            drop(full);
            host.now += Duration::from_secs(6);
            assert_eq!((host.sorted(), host.account().gaps), (upto(5), 0), "{pattern}");
            settled(&mut host, pattern, 5);
        }
    });
}

#[test]
fn a_damaged_rotated_file_that_nobody_read_is_a_gap() {
    each(|pattern, ending| {
        let (mut host, path) = begun(pattern, 2);
        for (n, numbers) in [(2, 2..4), (1, 4..6)] {
            let rotated = host.path(&format!("a.log.{n}"));
            fs::rename(&path, &rotated).expect("ours");
            pack(&rotated, ending);
            append(&path, &lines(numbers));
        }
        let packed = host.path(&format!("a.log.1.{ending}"));
        let mut bytes = fs::read(&packed).expect("ours");
        let middle = bytes.len() / 2;
        bytes[..middle].iter_mut().skip(4).for_each(|byte| *byte = !*byte);
        fs::write(&packed, bytes).expect("ours");
        for _ in 0..2 {
            assert_eq!(host.sorted(), [0, 1, 4, 5], "{pattern} {ending}");
            assert_eq!(host.account().gaps, 1, "{pattern} {ending}");
            host.now += Duration::from_secs(6);
        }
    });
}

#[test]
fn a_damaged_compressed_copy_is_a_gap_and_no_hindrance() {
    let (mut host, path) = begun("a.log", 2);
    host.stop();
    append(&path, &lines(2..4));
    fs::rename(&path, host.path("a.log.1")).expect("ours");
    pack(&host.path("a.log.1"), "gz");
    let packed = host.path("a.log.1.gz");
    let half = fs::read(&packed).expect("ours");
    fs::write(&packed, &half[..half.len() - 12]).expect("ours");
    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    let file = File::options().append(true).open(&packed).expect("ours");
    file.set_modified(hour_ago).expect("ours");
    append(&path, &lines(10..12));
    host.start("a.log", None);
    assert_eq!(host.sorted(), [0, 1, 10, 11]);
    assert_eq!(host.account().gaps, 1);
}

#[test]
fn rotations_that_left_an_empty_file_are_found() {
    each(|pattern, ending| {
        let (mut host, path) = begun(pattern, 3);
        host.stop();
        append(&path, &lines(3..5));
        for (n, numbers) in [(2, 5..7), (1, 7..7)] {
            let rotated = host.path(&format!("a.log.{n}"));
            fs::rename(&path, &rotated).expect("ours");
            pack(&rotated, ending);
            append(&path, &lines(numbers));
        }
        host.start(pattern, None);
        // Longer than a copy is waited for.
        for _ in 0..2 {
            assert_eq!(host.sorted(), upto(7), "{pattern}");
            host.now += Duration::from_secs(20);
        }
        append(&path, &lines(7..9));
        assert_eq!(host.sorted(), upto(9), "{pattern}");
        settled(&mut host, pattern, 9);
    });
}

/// The time of xz(1) and its like is that of what they compressed, too.
fn pack_otherwise(path: &Path, ending: &str) {
    let modified = fs::metadata(path).expect("it is there").modified().expect("it has one");
    let name = format!("{}.{ending}", path.display());
    fs::write(&name, "what nobody here can unpack").expect("it is ours");
    let file = File::options().append(true).open(&name).expect("it is ours");
    file.set_modified(modified).expect("it is ours");
    fs::remove_file(path).expect("it is ours");
}

/// A time that no other file of a test has: they are told apart by whole seconds.
fn written_at(path: &Path, seconds_ago: u64) {
    let at = SystemTime::now() - Duration::from_secs(seconds_ago);
    let file = File::options().append(true).open(path).expect("it is ours");
    file.set_modified(at).expect("it is ours");
}

#[test]
fn a_rotation_that_nobody_can_unpack_is_a_gap() {
    for ending in ["xz", "bz2", "lz4"] {
        for pattern in ["a.log", "*.log", "a.log*"] {
            let what = format!("{pattern} {ending}");
            let (mut host, path) = begun(pattern, 3);
            // One that was read to its end loses nothing.
            written_at(&path, 300);
            fs::rename(&path, host.path("a.log.1")).expect("ours");
            append(&path, &lines(3..4));
            assert_eq!(host.sorted(), upto(4), "{what}");
            pack_otherwise(&host.path("a.log.1"), ending);
            host.now += Duration::from_secs(2);
            assert_eq!(host.sorted(), upto(4), "{what}");
            host.now += Duration::from_secs(20);
            assert_eq!(host.sorted(), upto(4), "{what}");
            assert_eq!(host.account().gaps, 0, "{what}");
            let packed = |n: u32| host.path(&format!("a.log.{n}.{ending}"));
            fs::rename(packed(1), packed(3)).expect("ours");
            // One that came and went between two looks was never read.
            written_at(&path, 200);
            fs::rename(&path, host.path("a.log.2")).expect("ours");
            append(&path, &lines(4..6));
            written_at(&path, 100);
            fs::rename(&path, host.path("a.log.1")).expect("ours");
            pack_otherwise(&host.path("a.log.1"), ending);
            append(&path, &lines(6..8));
            for _ in 0..3 {
                assert_eq!(host.sorted(), [0, 1, 2, 3, 6, 7], "{what}");
                assert_eq!(host.account().gaps, 1, "{what}: it is told once");
                host.now += Duration::from_secs(2);
            }
        }
    }
}
