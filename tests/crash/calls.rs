//! Each call to the disk fails once, or is the last: nothing is lost, and it is said what failed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::destination::{Destination, Manner};
use crate::event::id;
use crate::place::{Ended, Place, READY, events};
use crate::wait::comes_true;
use crate::watched::{Fault, Watched};

/// What one run under a fault came to.
struct Ran {
    ended: Ended,
    calls: Vec<String>,
}

/// A followed file with events, one of them refused by its destination, and a line that is none.
struct Site {
    place: Place,
    destination: Destination,
    input: String,
}

impl Site {
    fn new() -> Self {
        let destination = Destination::start(Manner::Refuse('7'));
        let place = Place::new(&[("one", &destination)], "shutdown_timeout_ms: 20000");
        let path = place.path("events.jsonl");
        let lines = [events(0..EVENTS), b"{\"event_id\": no event\n".to_vec()].concat();
        std::fs::write(&path, lines).expect("the directory is ours");
        let input = format!("inputs=[{{type: file, path: {}, mode: append}}]", path.display());
        Self { place, destination, input }
    }

    fn args(&self) -> [&str; 5] {
        ["run", "--set", &self.input, "--set", "log.io=syscalls"]
    }

    /// Whether the destination has all that it takes.
    fn is_sent(&self) -> bool {
        self.destination.count() == (0..EVENTS).filter(|&number| !is_refused(number)).count()
    }

    /// Runs once; a fault may end it, hold it up for as long as it lasts, or do nothing to it.
    fn run_with(&self, at: Option<(usize, Fault)>) -> Ran {
        let command = self.place.command(&self.args());
        let dir = self.place.path("state");
        let (shrike, calls) = Watched::start(command, &dir, at).parts();
        let asked = Instant::now();
        let is_held_up =
            || asked.elapsed() > HELD_UP && REASONS.iter().any(|reason| shrike.has_said(reason));
        let is_over = || shrike.has_ended() || self.is_sent() || is_held_up();
        let is_told = comes_true(is_over);
        let ended = shrike.stopped();
        assert!(is_told, "nothing is sent, and nobody is told\n{}", ended.said);
        Ran { ended, calls: calls() }
    }

    /// Runs without a fault, as a supervisor would after it; everything must be there then.
    fn check(&self, what: &str) {
        let shrike = self.place.run(&self.args()[1..]);
        shrike.wait_for(READY);
        let is_read = comes_true(|| self.place.events_in_log() >= u64::from(EVENTS));
        let ended = shrike.stopped();
        assert!(is_read, "{what}\n{}", ended.said);
        let ended = self.place.drained();
        // 1: some events are dead letters.
        assert!(matches!(ended.code, Some(0 | 1)), "{what}\n{}", ended.said);
        assert!(self.is_sent(), "{what}: {} sent\n{}", self.destination.count(), ended.said);
        let account = ended.account("one");
        assert_eq!(account.pending, 0, "{what}\n{}", ended.said);
        let list = self.place.ran(&["dlq", "list", "--json"]);
        let text = String::from_utf8_lossy(&list.stdout).into_owned();
        let letters = text.lines().map(serde_json::from_str::<Value>);
        let event_id = |letter: Value| letter["event_id"].as_str().unwrap_or_default().to_owned();
        let letters = letters.map(|letter| event_id(letter.expect("letters are JSON")));
        let letters: BTreeSet<String> = letters.collect();
        let refused = (0..EVENTS).filter(|&number| is_refused(number)).map(id).collect();
        assert_eq!(letters, refused, "{what}\n{}", ended.said);
        let audit = self.place.ran(&["audit", "verify"]);
        let said = String::from_utf8_lossy(&audit.stdout).into_owned();
        assert!(audit.status.success(), "{what}\n{said}\n{}", ended.said);
    }
}

/// The calls that fail in an ordinary run: spread over all of them, which `SHRIKE_CALLS=all` takes.
fn chosen(calls: usize) -> Vec<usize> {
    match std::env::var("SHRIKE_CALLS").as_deref() {
        Ok("all") => (0..calls).collect(),
        Ok(text) => vec![text.parse().expect("SHRIKE_CALLS is `all` or a number")],
        Err(_) => (0..CHOSEN).map(|at| at * calls / CHOSEN).collect(),
    }
}

#[test]
fn whichever_call_to_the_disk_is_refused_nothing_is_lost_and_it_is_said() {
    let whole = Site::new();
    let ran = whole.run_with(None);
    assert!(whole.is_sent(), "{}", ran.ended.said);
    whole.check("without a fault");
    println!("{} calls", ran.calls.len());
    for number in chosen(ran.calls.len()) {
        let site = Site::new();
        let Ran { ended, calls } = site.run_with(Some((number, Fault::Refused)));
        // Threads differ from run to run in who comes first, and in how often they look.
        let Some(call) = calls.get(number) else { continue };
        let what = format!("call {number}, {call}, is refused");
        println!("{what}: {:?}", ended.code);
        assert!(!ended.said.contains("panicked"), "{what}\n{}", ended.said);
        assert!(matches!(ended.code, Some(0..=3)), "{what}: {:?}\n{}", ended.code, ended.said);
        if !site.is_sent() {
            let is_said = REASONS.iter().any(|reason| ended.said.contains(reason));
            assert!(is_said, "{what}, and nobody is told\n{}", ended.said);
        }
        site.check(&what);
    }
}

#[test]
fn whichever_call_to_the_disk_is_the_last_nothing_is_lost() {
    let ran = Site::new().run_with(None);
    for number in chosen(ran.calls.len()) {
        let site = Site::new();
        let Ran { calls, .. } = site.run_with(Some((number, Fault::Killed)));
        let Some(call) = calls.get(number) else { continue };
        let what = format!("killed before call {number}, {call}");
        println!("{what}");
        site.check(&what);
    }
}

fn is_refused(number: u32) -> bool {
    number % 16 == 7
}

/// How the system names the errors of these faults.
const REASONS: [&str; 2] = ["No space left on device", "Input/output error"];
/// Events in the file.
const EVENTS: u32 = 40;
/// Calls that fail in an ordinary run of a test.
const CHOSEN: usize = 8;
/// How long a run is watched whose fault keeps it from getting anything done.
const HELD_UP: Duration = Duration::from_secs(5);
