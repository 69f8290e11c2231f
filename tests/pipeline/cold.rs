//! Bytes of the log that are not in memory when they are asked for again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shrike::config::{Config, Host};
use shrike::log::{Log, LogIo};
use shrike::pipeline::{Engine, Letter, Wanted};

use crate::destination::{Destination, Manner};
use crate::disk::as_the_disk;
use crate::equation::assert_equation;
use crate::letters::{letters, replay};
use crate::wait::comes_true;
use crate::{QUICK, append, config, exporter, filled};

/// The real disk, which has to be asked for all bytes of segments first while it is cold.
#[derive(Default)]
struct ColdDisk(AtomicBool);

impl LogIo for ColdDisk {
    as_the_disk!(create, write, truncate, sync, rename, unlink, sync_dir, boot, no_ring);

    fn is_cold(&self, _path: &Path) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An engine over a log on a cold disk.
fn start(config: &Config) -> (Log, Engine) {
    let disk: Arc<dyn LogIo> = Arc::new(ColdDisk(true.into()));
    let (log, _) = Log::open_on(config.log.clone(), disk).expect("the directory is ours");
    let engine = Engine::start(log.clone(), config.engine_options(&Host::default()));
    (log, engine.expect("it starts"))
}

fn assert_whole(letters: &[Letter], count: usize) {
    assert_eq!(letters.len(), count);
    let is_whole = |letter: &&Letter| letter.event.is_some() && letter.event_id.is_some();
    assert_eq!(letters.iter().filter(is_whole).count(), count, "letters with their events");
}

/// "Dead letters hold the redacted canonical event" (`design.md` 4): the log lets go of it then.
#[test]
fn a_letter_holds_its_event_wherever_that_lies() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Refuse('7'));
    let config = config(dir.path(), &[("one", &destination, "")]);
    let (log, engine) = start(&config);
    append(&log, 0..1_000, 900);
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().counts.total() == 1_000), "{:?}", one());
    assert_whole(&letters(&config), 63);
    // Refused again, each is written again from the store.
    assert_eq!(replay(&engine, &Wanted::default()).kept, 63);
    let are_written = || letters(&config).iter().all(|letter| letter.replays == 1);
    assert!(comes_true(are_written), "they are soon to be read");
    assert_whole(&letters(&config), 63);
    drop(assert_equation(engine.end()));
}

#[test]
fn a_letter_of_what_was_held_for_too_long_holds_its_event() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Busy);
    let keys = "
    retry: {initial_backoff_ms: 5, max_backoff_ms: 20, max_age: 300ms}
    circuit_breaker: {failure_threshold: 2, open_ms: 50}";
    let config = config(dir.path(), &[("one", &destination, keys)]);
    let (log, engine) = start(&config);
    append(&log, 0..40, 900);
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().counts.dead_lettered == 40), "{:?}", one());
    assert_whole(&letters(&config), 40);
    drop(assert_equation(engine.end()));
}

/// The same where the kernel takes the pages, as it does when memory is short.
#[test]
fn a_letter_holds_its_event_when_memory_was_short() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Busy);
    let config = config(dir.path(), &[("one", &destination, QUICK)]);
    let log = filled(&config, 0..200, 900);
    let engine = Engine::start(log, config.engine_options(&Host::default())).expect("it starts");
    // While it is held everything is rendered, and nobody looks at the log any more.
    let one = || exporter(&engine.status(), "one").clone();
    assert!(comes_true(|| one().state == "circuit_open"), "{:?}", one());
    if !page_out(&config.log.dir) {
        eprintln!("skipped: the kernel does not take the pages of {}", config.log.dir.display());
        return drop(assert_equation(engine.end()));
    }
    destination.turn(Manner::Refuse('7'));
    assert!(comes_true(|| one().counts.total() == 200), "{:?}", one());
    assert_whole(&letters(&config), 13);
    let status = assert_equation(engine.end());
    let counts = exporter(&status, "one").counts;
    assert_eq!((counts.delivered, counts.dead_lettered), (187, 13));
}

/// Has the kernel take the pages of mapped segments; whether it took all that were asked for.
fn page_out(dir: &Path) -> bool {
    const PAGES: usize = 40;
    let maps = fs::read_to_string("/proc/self/maps").expect("it is readable");
    let dir = dir.canonicalize().expect("it is there");
    let name = format!("{}/", dir.display());
    let mut mapped = maps.lines().filter(|line| line.contains(&name) && line.ends_with(".log"));
    let from = mapped.next().and_then(|line| line.split('-').next()).expect("one is mapped");
    let address = usize::from_str_radix(from, 16).expect("the kernel writes hexadecimal digits");
    let address = std::ptr::with_exposed_provenance_mut::<libc::c_void>(address);
    let (bytes, mut resident) = (PAGES * rustix::param::page_size(), [0; PAGES]);
    // SAFETY: the range lies in a mapping of a file that is longer; its bytes stay what they are.
    let advised = unsafe { libc::madvise(address, bytes, libc::MADV_PAGEOUT) };
    // SAFETY: mincore writes one byte per page of the range.
    let looked = unsafe { libc::mincore(address, bytes, resident.as_mut_ptr()) };
    advised == 0 && looked == 0 && resident.iter().all(|page| page & 1 == 0)
}
