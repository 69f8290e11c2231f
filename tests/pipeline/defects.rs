//! A defect that one event meets costs that event, and no other.

use std::sync::Arc;
use std::time::Instant;

use shrike::config::{Config, Host};
use shrike::event::{Class, Event, FieldId as F, Insight, Known};
use shrike::log::Log;
use shrike::pipeline::{Ended, Engine, EngineOptions, Status};
use shrike::transform::{Encoder, Field, Layout, Schema, Source, row, write};

use crate::destination::{Destination, Manner};
use crate::equation::assert_equation;
use crate::letters::letters;
use crate::wait::PATIENCE;
use crate::{config, exporter, filled};

/// Documents of events, but of those whose ids end in 7.
static DEFECTIVE: Schema =
    Schema { name: "defective", layout: Layout::Table(ROWS), ..Schema::BASE };

const ROWS: &[Field] = &[
    row("event.id", Source::Event(F::EventId, write::value)),
    row("timestamp", Source::Event(F::Timestamp, write::value)),
    row("reason", Source::Derived(&[F::EventId], no_sevens)),
];

fn no_sevens(encoder: &mut Encoder<'_>, event: &Event<'_>) -> bool {
    encoder.text(b"half of it");
    assert!(!event.text(F::EventId).ends_with(b"7"), "on purpose");
    true
}

/// Knows nothing, and fails of events whose ids end in 7.
#[derive(Debug)]
struct NoSevens;

impl Insight for NoSevens {
    fn of(&self, event: &Event<'_>) -> Option<Box<Known>> {
        assert!(!event.text(F::EventId).ends_with(b"7"), "on purpose");
        None
    }
}

fn run(config: &Config, log: Log, change: impl Fn(&mut EngineOptions)) -> Status {
    let mut options = config.engine_options(&Host::default());
    change(&mut options);
    let engine = Engine::start(log, options).expect("it starts");
    assert_eq!(engine.drain(Instant::now() + PATIENCE), Ended::Settled);
    assert!(engine.defects().is_empty(), "{:?}", engine.defects());
    assert_equation(engine.end())
}

#[test]
fn an_event_that_cannot_be_rendered_is_a_dead_letter_and_its_neighbours_arrive() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &destination, "")]);
    let log = filled(&config, 0..64, 900);
    let status = run(&config, log, |options| options.exporters[0].document = &DEFECTIVE);
    let counts = exporter(&status, "one").counts;
    assert_eq!((counts.delivered, counts.dead_lettered), (60, 4));
    assert_eq!(destination.accepted().len(), 60);
    let letters = letters(&config);
    assert_eq!(letters.len(), 4);
    for letter in &letters {
        assert_eq!((letter.class.as_str(), letter.attempts), ("defect", 0));
        let event = letter.event.as_ref().expect("it is kept").get();
        assert!(event.contains("exfil.example"), "{event}");
    }
}

#[test]
fn a_letter_that_cannot_be_rendered_either_says_so_without_its_event() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let destination = Destination::start(Manner::Accept);
    let config = config(dir.path(), &[("one", &destination, "")]);
    let log = filled(&config, 0..16, 900);
    let status = run(&config, log, |options| {
        options.exporters[0].document = &DEFECTIVE;
        options.exporters[0].native = &DEFECTIVE;
    });
    let counts = exporter(&status, "one").counts;
    assert_eq!((counts.delivered, counts.dead_lettered), (15, 1));
    let letters = letters(&config);
    assert_eq!((letters.len(), letters[0].event.is_none()), (1, true));
}

#[test]
fn a_record_whose_opening_meets_a_defect_is_told_and_its_neighbours_arrive() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (one, other) = (Destination::start(Manner::Accept), Destination::start(Manner::Accept));
    let config = config(dir.path(), &[("one", &one, ""), ("other", &other, "")]);
    let log = filled(&config, 0..64, 900);
    let mut options = config.engine_options(&Host::default());
    options.opening.insight = Some(Arc::new(NoSevens));
    let engine = Engine::start(log, options).expect("it starts");
    assert_eq!(engine.drain(Instant::now() + PATIENCE), Ended::Settled);
    assert!(engine.defects().is_empty(), "{:?}", engine.defects());
    let told = engine.take_unreadable();
    let status = assert_equation(engine.end());
    assert_eq!(status.invalid, 4, "counted once, whoever meets it");
    assert_eq!(told.iter().map(|it| it.class).collect::<Vec<_>>(), [Class::Defect; 4]);
    for (name, destination) in [("one", &one), ("other", &other)] {
        let counts = exporter(&status, name).counts;
        assert_eq!((counts.delivered, counts.invalid), (60, 4), "{name}");
        assert_eq!(destination.accepted().len(), 60, "{name}");
    }
}
