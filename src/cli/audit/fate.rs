//! Tells what became of one event at every exporter.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use shrike::config::{Places, time};
use shrike::event::{
    Checkpoint, Event, FieldId, Offset, Opened, Opening, OpeningOptions, Span, uuid_of,
};
use shrike::log::{LogError, Reader};
use shrike::pipeline::{Letter, LetterStore, Period, Receipt, TakenOut, Wanted, read_receipts};

use super::super::walk::{Met, Then, walk};
use super::super::{Exit, Failure, hint, log};
use super::{checkpoints, path};

/// Prints it, in the order of time.
pub(super) fn show(places: &Places, id: &str) -> Result<Exit, Failure> {
    let path = path(places)?;
    let mut reader = log::open(&places.log_dir)?;
    let found = find(&mut reader, id)?;
    let mut text = String::new();
    for Found { at, sent_as } in &found {
        let is_other = sent_as.as_ref().is_some_and(|sent| sent != id);
        let other = sent_as.as_ref().filter(|_| is_other);
        let told = other.map(|sent| format!(", to destinations {sent}")).unwrap_or_default();
        text += &format!("event {id} at offset {at}{told}\n");
    }
    let mut offsets: Vec<Offset> = found.iter().map(|it| it.at).collect();
    let letters = Letters::find(places, &names(id, &found));
    if offsets.is_empty() {
        text += &format!("event {id} is not in the log: it never came, or retention took it\n");
        // A letter says where it lay, so that its receipts are found.
        offsets.extend(letters.all().map(|letter| Offset::new(letter.offset)));
        offsets.sort_unstable();
        offsets.dedup();
    }
    let mut told = Told { several: offsets.len() > 1, ..Told::default() };
    read_receipts(path, Period::ALWAYS, |receipt, _| {
        offsets.iter().for_each(|at| told.take(receipt, *at));
    })
    .map_err(Failure::io(path.display().to_string()))?;
    told.take_letters(&letters);
    let checkpoints = checkpoints(places)?;
    for at in &offsets {
        checkpoints.iter().for_each(|(name, it)| told.take_checkpoint(name, it, *at));
    }
    text += &told.text();
    io::stdout().write_all(text.as_bytes()).map_err(Failure::io("standard output"))?;
    let is_whole = !offsets.is_empty() && letters.are_whole;
    Ok(if is_whole { Exit::Done } else { Exit::Failed })
}

/// An event in one pass of an exporter.
type Case = (String, u32, Offset);

/// What is known of an event's fate.
#[derive(Default)]
struct Told {
    /// With the time of each, nanoseconds since 1970.
    lines: Vec<(u64, String)>,
    /// What has no time: how it is now.
    now: String,
    /// Whether the event came more than once.
    several: bool,
    /// Where a receipt says its fate.
    settled: BTreeSet<Case>,
    /// Where that was to become a dead letter.
    buried: BTreeSet<Case>,
    /// Where a receipt says what became of the letter.
    moved: BTreeSet<Case>,
}

impl Told {
    /// Takes in what a receipt says of the event at an offset.
    fn take(&mut self, receipt: &Receipt, at: Offset) {
        let Some(fate) = receipt.fate_of(at) else { return };
        let Receipt { exporter, pass, at: when, n, .. } = receipt;
        let pass = receipt.letters_of.unwrap_or(*pass);
        let case = (exporter.clone(), pass, at);
        let what = match (receipt.kind.as_str(), fate) {
            ("replay", "delivered") => "delivered by a replay of its dead letter",
            ("replay", _) => "filtered, told of in a digest by a replay",
            ("purge", _) => "dead letter purged",
            _ => fate,
        };
        match receipt.kind.as_str() {
            "replay" | "purge" => self.moved.insert(case),
            _ => {
                if fate == "dead_lettered" {
                    self.buried.insert(case.clone());
                }
                self.settled.insert(case)
            }
        };
        let (request, of) = (request(receipt), self.of(at));
        let line =
            format!("{exporter}: {what} at {when}, pass {pass}{request} (receipt {n}){of}\n");
        self.lines.push((time::parse(when).unwrap_or_default(), line));
    }

    /// Takes in the dead letters, and those that went and of which no receipt tells.
    fn take_letters(&mut self, letters: &Letters) {
        let case =
            |letter: &Letter| (letter.exporter.clone(), letter.pass, Offset::new(letter.offset));
        for letter in &letters.there {
            let Letter { exporter, failed_at, attempts, error, .. } = letter;
            let of = self.of(Offset::new(letter.offset));
            let status = match letter.http_status {
                0 => String::new(),
                status => format!(", status {status}"),
            };
            self.now += &format!(
                "{exporter}: dead letter since {failed_at}, {attempts} attempts{status}: {error}{of}\n"
            );
        }
        for TakenOut { letter, why, at } in &letters.taken_out {
            if self.moved.contains(&case(letter)) {
                continue;
            }
            let (name, pass, of) =
                (&letter.exporter, letter.pass, self.of(Offset::new(letter.offset)));
            let what = match why.as_str() {
                "replayed" => "delivered by a replay of its dead letter".to_owned(),
                "digested" => "filtered, told of in a digest by a replay".to_owned(),
                why => format!("dead letter {why}"),
            };
            let line = format!("{name}: {what} at {at}, pass {pass}{of}\n");
            self.lines.push((time::parse(at).unwrap_or_default(), line));
        }
        let known: BTreeSet<Case> = letters.all().map(case).collect();
        let mut gone = String::new();
        for case in self.buried.iter().filter(|it| !known.contains(it) && !self.moved.contains(it))
        {
            let (name, pass, at) = case;
            let of = self.of(*at);
            gone += &format!(
                "{name}: its dead letter of pass {pass} is not kept: it grew too old, made room for \
                 newer ones, or `dlq.enabled` is false{of}\n"
            );
        }
        self.now += &gone;
    }

    /// Takes in how far an exporter is, where no receipt of its pass tells of the event.
    fn take_checkpoint(&mut self, name: &str, checkpoint: &Checkpoint, at: Offset) {
        let pass = checkpoint.pass;
        if self.settled.contains(&(name.to_owned(), pass, at)) {
            return;
        }
        let fate = match (checkpoint.covers(at), at < checkpoint.start) {
            (_, true) => "before the beginning of its pass",
            (true, _) => "settled; its receipt is gone",
            (false, _) => "pending",
        };
        self.now += &format!("{name}: {fate}, pass {pass}{}\n", self.of(at));
    }

    /// Which of several events is meant.
    fn of(&self, at: Offset) -> String {
        if self.several { format!(", offset {at}") } else { String::new() }
    }

    fn text(mut self) -> String {
        self.lines.sort_by_key(|(at, _)| *at);
        let lines: String = self.lines.into_iter().map(|(_, line)| line).collect();
        lines + &self.now
    }
}

/// The request that a receipt tells of.
fn request(receipt: &Receipt) -> String {
    let Receipt { attempts, status, body, .. } = receipt;
    match body.is_empty() {
        true => String::new(),
        false => {
            format!(", attempt {attempts}, status {status}, body {}", &body[..16.min(body.len())])
        }
    }
}

/// The ids under which dead letters may have an event: as it was sent, and as it was asked for.
fn names(id: &str, found: &[Found]) -> BTreeSet<String> {
    let asked = uuid_of(id.as_bytes()).map(|it| String::from_utf8_lossy(&it).into_owned());
    let sent = found.iter().filter_map(|it| it.sent_as.clone());
    sent.chain([asked.unwrap_or_else(|| id.to_owned())]).collect()
}

/// The dead letters of an event, of all exporters.
struct Letters {
    there: Vec<Letter>,
    /// Those that were replayed or purged.
    taken_out: Vec<TakenOut>,
    /// Whether every store could be read that is of a configured exporter.
    are_whole: bool,
}

impl Letters {
    fn all(&self) -> impl Iterator<Item = &Letter> {
        self.there.iter().chain(self.taken_out.iter().map(|it| &it.letter))
    }

    /// Looks for them; a store that cannot be read hides no other.
    fn find(places: &Places, ids: &BTreeSet<String>) -> Self {
        let mut found = Self { there: Vec::new(), taken_out: Vec::new(), are_whole: true };
        let configured = || places.letters.iter().map(|it| &it.dir);
        let mut dirs: BTreeSet<PathBuf> = configured().cloned().collect();
        // Those of exporters that are not configured any more.
        let others = fs::read_dir(places.state_dir.join("dlq")).into_iter().flatten().flatten();
        dirs.extend(others.map(|other| other.path()));
        for dir in dirs {
            if let Err(problem) = found.look(&dir, ids) {
                hint(format_args!("letters left out: {problem}"));
                found.are_whole &= !configured().any(|it| *it == dir);
            }
        }
        found
    }

    fn look(&mut self, dir: &Path, ids: &BTreeSet<String>) -> Result<(), LogError> {
        let Some(mut store) = LetterStore::look(dir)? else { return Ok(()) };
        for id in ids {
            let wanted = Wanted { event_id: Some(id.clone()), ..Wanted::default() };
            store.visit(&wanted, |_, letter| {
                self.there.push(letter.clone());
                ControlFlow::Continue(())
            })?;
            self.taken_out.extend(store.taken_out(&wanted)?);
        }
        Ok(())
    }
}

/// A record of the event that was asked for.
struct Found {
    at: Offset,
    /// The id that destinations are told; `None` of a record that is no event.
    sent_as: Option<String>,
}

/// The records of an event, by the id that its producer wrote or by the one that is sent.
fn find(reader: &mut Reader, id: &str) -> Result<Vec<Found>, Failure> {
    let span = Span { from: reader.oldest(), to: reader.written() };
    let opening = Opening::new(&OpeningOptions::default());
    let (mut arena, mut opened, mut found) = (Vec::new(), Opened::default(), Vec::new());
    opening.begin(&mut arena);
    let uuid = uuid_of(id.as_bytes());
    walk(reader, span, |met| {
        let Met::Block(block) = met else { return Ok(Then::On) };
        for record in block.records() {
            let (bytes, frame) = (block.record(record), record.frame);
            opening.rewind(&mut arena);
            let is_event = opening.open(&frame, bytes, &mut arena, &mut opened).is_ok();
            let event = is_event.then(|| Event::new(&opened, frame, bytes, &arena));
            let sent = event.as_ref().map(|event| event.text(FieldId::EventId));
            // Whoever asks for a UUID means what stands for it, however it was written.
            let is_sent = uuid.is_some_and(|uuid| sent == Some(&uuid));
            if is_sent || (uuid.is_none() || !is_event) && says(bytes, id) {
                let sent_as = sent.map(|sent| String::from_utf8_lossy(sent).into_owned());
                found.push(Found { at: frame.offset, sent_as });
            }
        }
        Ok(Then::On)
    })?;
    Ok(found)
}

/// Whether a record says this id itself.
fn says(record: &[u8], id: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Id {
        event_id: Option<String>,
    }
    serde_json::from_slice::<Id>(record).is_ok_and(|it| it.event_id.as_deref() == Some(id))
}
