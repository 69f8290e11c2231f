//! Conversations: the first document of one is alone on its way, and the others answer to it.
//!
//! An event whose conversation is being begun is set aside until that was answered, without its
//! bytes, as those of held routes are: events of other conversations and places go on. It stays
//! pending, and is rendered then.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use serde::Deserialize;

use super::super::alerts::{Name, name};
use super::super::block::Entry;
use super::super::parking::{PARKED_MAX, has_room_for};
use super::Lane;
use super::fill::Taken;
use crate::deliver::{DeadLetter, Fate, History, Item, Reshape, Response};
use crate::event::{Event, Offset, Settle, Settled, Span, attempt};

/// What a lane knows of conversations.
#[derive(Debug, Default)]
pub(super) struct Talking {
    /// The documents on their way, by where their events begin.
    sent: BTreeMap<Offset, Said>,
    /// Conversations that are being begun, or whose events wait from when they were.
    begun: HashMap<Name, Beginning>,
    /// Those of them whose events may go on.
    ready: VecDeque<Name>,
    /// Events that wait.
    events: u64,
    /// None of them lies below this offset.
    floor: Offset,
    /// The event at hand, and how it is said.
    at_hand: Option<(Offset, Said)>,
    /// Room for keys.
    room: Vec<u8>,
}

/// How an event is said: in which conversation, and what it answers to; one that begins it answers
/// to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    name: Name,
    answers: Option<Box<str>>,
}

/// A conversation that is being begun.
#[derive(Debug, Default)]
struct Beginning {
    /// Whose document begins it, until that has met its end.
    owner: Option<Offset>,
    waiting: BTreeMap<Offset, Reshape>,
}

/// What is to be done with an event of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// It is said.
    Say(Said),
    /// It waits until another one has begun the conversation.
    Wait,
}

/// What the plan of keys writes.
#[derive(Deserialize)]
struct Key {
    key: String,
}

impl Talking {
    /// Events that wait.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// What the event at this place answers to, if it is at hand.
    pub(super) fn thread(&self, offset: Offset) -> Option<&str> {
        let (at, said) = self.at_hand.as_ref()?;
        said.answers.as_deref().filter(|_| *at == offset)
    }

    /// What is to be done with an event of a conversation; `known` is what others of it answer to
    /// now. One that is read for the first time comes behind those that wait.
    fn step(&self, offset: Offset, name: Name, known: Option<Box<str>>, is_again: bool) -> Step {
        let begins = |said: &Said| said.answers.is_none();
        if is_again && self.sent.get(&offset).is_some_and(begins) {
            return Step::Say(Said { name, answers: None });
        }
        let waits = self.begun.get(&name).is_some_and(|it| match is_again {
            true => it.owner.is_some_and(|owner| owner != offset),
            false => it.owner.is_some() || !it.waiting.is_empty(),
        });
        if waits { Step::Wait } else { Step::Say(Said { name, answers: known }) }
    }

    /// Notes that the document of the event at hand is on its way.
    pub(super) fn on_pushed(&mut self, offset: Offset) {
        let Some((_, said)) = self.at_hand.take_if(|(at, _)| *at == offset) else { return };
        if said.answers.is_none() {
            self.begun.entry(said.name).or_default().owner = Some(offset);
        }
        self.sent.insert(offset, said);
    }

    /// Sets events aside until their conversation is begun.
    fn wait(&mut self, name: Name, reshape: Reshape) {
        self.events += reshape.items.len() as u64;
        if reshape.items.iter().any(|item| item.span.to <= self.floor) {
            self.floor = Offset::ZERO;
        }
        let Some(first) = reshape.items.first().map(|item| item.span.from) else { return };
        self.begun.entry(name).or_default().waiting.insert(first, reshape);
    }

    /// Notes that events have met their end, wherever.
    fn on_end(&mut self, span: Span) {
        while let Some((&offset, _)) = self.sent.range(span.from..span.to).next() {
            let said = self.sent.remove(&offset).expect("it was found just now");
            self.release(&said, offset);
        }
    }

    /// Lets those go on that wait for this one.
    fn release(&mut self, said: &Said, offset: Offset) {
        let Some(begun) = self.begun.get_mut(&said.name) else { return };
        if begun.owner == Some(offset) {
            begun.owner = None;
            self.ready.push_back(said.name);
        }
    }

    /// The next events that wait no more, of a route that may go on.
    fn next_ready(&mut self, mut may_go_on: impl FnMut(u32) -> bool) -> Option<Reshape> {
        let mut at = 0;
        while at < SKIPS_MAX {
            let name = *self.ready.get(at)?;
            let begun = self.begun.get_mut(&name).filter(|it| it.owner.is_none());
            match begun.and_then(|it| it.waiting.first_entry()) {
                Some(next) if may_go_on(next.get().route) => {
                    let reshape = next.remove();
                    self.events -= reshape.items.len() as u64;
                    return Some(reshape);
                }
                Some(_) => at += 1,
                None => self.drop_ready(at, name),
            }
        }
        None
    }

    /// Forgets one of which none waits, or which another one begins anew.
    fn drop_ready(&mut self, at: usize, name: Name) {
        self.ready.remove(at);
        let is_over = |it: &Beginning| it.owner.is_none() && it.waiting.is_empty();
        if self.begun.get(&name).is_some_and(is_over) {
            self.begun.remove(&name);
        }
    }

    /// Gives up what retention needs the place of.
    fn give_up_below(&mut self, floor: Offset, out: &mut Vec<Settled>) {
        // Asked each turn; all are looked through once.
        if self.events == 0 || self.floor == floor {
            return;
        }
        self.floor = floor;
        let before = out.len();
        for begun in self.begun.values_mut() {
            begun.waiting.retain(|_, reshape| {
                let is_below = |item: &Item| item.span.to <= floor;
                for item in reshape.items.iter().filter(|item| is_below(item)) {
                    out.push(Settled { span: item.span, events: 1, fate: Settle::Skipped });
                }
                reshape.items.retain(|item| !is_below(item));
                !reshape.items.is_empty()
            });
        }
        self.events -= (out.len() - before) as u64;
    }
}

impl Lane {
    /// Finds out what an event answers to, or sets it aside; nothing where it is sent now.
    pub(super) fn converse(&mut self, entry: &Entry<'_>, event: &Event<'_>) -> Option<Taken> {
        let route = self.target.route;
        let name = self.say(entry.span.from, event, route, false)?;
        if self.parking.events() + self.talking.events >= PARKED_MAX {
            return Some(Taken::Full);
        }
        let item = Item { span: entry.span, received_ns: entry.received_ns, start: 0, end: 0 };
        let packing = self.target.packing(&self.exporter.routes[route].packing);
        let route = u32::try_from(route).expect("routes are counted in config lines");
        let (items, level, history) = (vec![item], None, History::default());
        let fold = None;
        self.talking.wait(name, Reshape { items, route, packing, level, history, fold });
        Some(Taken::Done)
    }

    /// Finds out what an event answers to; the conversation that it has to wait for, if it has to.
    pub(super) fn say(
        &mut self,
        offset: Offset,
        event: &Event<'_>,
        route: usize,
        is_again: bool,
    ) -> Option<Name> {
        // Asked of every event, and mostly there are none.
        let threads = self.exporter.threads.as_ref()?;
        self.talking.at_hand = None;
        let (route, room) = (&self.exporter.routes[route], &mut self.talking.room);
        room.clear();
        let plan = route.conversation.as_ref()?;
        attempt(|| plan.encode(event, room))?;
        let Key { key } = serde_json::from_slice(room).ok()?;
        if key.is_empty() {
            return None;
        }
        let name = name(&[&route.place, key.as_bytes()]);
        let known = threads.find(&name, self.exporter.wall_secs());
        // Two lanes must not begin the same one: the one beside the log joins what there is.
        if self.is_aside() && known.is_none() {
            return None;
        }
        match self.talking.step(offset, name, known, is_again) {
            Step::Say(said) => {
                self.talking.at_hand = Some((offset, said));
                None
            }
            Step::Wait => Some(name),
        }
    }

    /// Sets an event aside that was to be rendered again.
    pub(super) fn wait_again(&mut self, name: Name, item: Item, reshape: &Reshape) {
        self.sender.take_back(1);
        self.talking.wait(name, Reshape { items: vec![item], ..reshape.clone() });
    }

    /// Notes what the answer to a document says of its conversation, before its event is settled;
    /// `called` is what the destination calls it.
    pub(super) fn on_said(
        &mut self,
        first: Option<Offset>,
        fate: &Fate,
        called: Option<&str>,
        now: Instant,
    ) {
        let (Some(threads), Some(first)) = (&self.exporter.threads, first) else { return };
        let Some(Said { name, answers }) = self.talking.sent.get(&first) else { return };
        let (counters, time) = (&self.exporter.counters.threads, self.exporter.wall_secs());
        let written = match (fate, answers, called) {
            (Fate::Delivered, None, Some(id)) => {
                counters.begun.add(1);
                threads.begin(*name, id, time).map(|forgotten| counters.forgotten.add(forgotten))
            }
            (Fate::Delivered, Some(id), _) => {
                counters.replies.add(1);
                threads.reply(*name, id, time)
            }
            (Fate::Orphan, Some(id), _) => {
                threads.forget(name, id).map(|was_known| counters.lost.add(u64::from(was_known)))
            }
            _ => Ok(()),
        };
        if let Err(problem) = written {
            self.exporter.note_error(format!("conversation not noted: {problem}"), now);
        }
    }

    /// What the destination calls a document that it took, where others answer to it.
    pub(super) fn called(&self, fate: &Fate, response: &Response<'_>) -> Option<String> {
        self.exporter.threads.as_ref()?;
        let conversation = self.exporter.settings.vendor.conversation.as_ref()?;
        (*fate == Fate::Delivered).then(|| (conversation.read)(response)).flatten()
    }

    /// Lets events go on whose conversation was begun, a few at a time.
    pub(super) fn talk_on(&mut self, now: Instant) {
        while !self.warming
            && self.again.is_empty()
            && !self.exporter.is_stuck()
            && self.sender.room()
        {
            // Asked once for each route, since there may be many conversations.
            let (sender, mut known) = (&self.sender, BTreeMap::new());
            let next = self.talking.next_ready(|route| {
                *known.entry(route).or_insert_with(|| has_room_for(sender, route, now))
            });
            let Some(reshape) = next else { return };
            self.sender.unpark(&reshape);
            self.again.push_back(reshape);
            self.render_again(now);
        }
    }

    /// Notes that events have met their end, so that others need not wait for them.
    pub(super) fn end_talks(&mut self, settled: &[Settled], dead: &[DeadLetter]) {
        if self.exporter.threads.is_some() {
            settled.iter().for_each(|it| self.talking.on_end(it.span));
            dead.iter().for_each(|it| self.talking.on_end(it.item.span));
        }
    }

    /// Gives up what retention needs the place of.
    pub(super) fn give_up_waiting(&mut self, floor: Offset) {
        self.talking.give_up_below(floor, &mut self.outcomes.settled);
    }
}

/// So many conversations whose places take no more now are looked at for one that may go on.
const SKIPS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::deliver::{Encoding, Limits, Packing, Shape};

    fn reshape(offset: u64) -> Reshape {
        let packing = Packing {
            framing: &Shape::BASE.framing,
            limits: Limits { events: 1, body_bytes: 1000, event_bytes: 1000 },
            body_bytes: 1000,
            encoding: Encoding::Identity,
            level: 1,
            flush_on: None,
            heads: crate::deliver::Heads::default(),
            head: None,
            keeps_ids: false,
        };
        let item = Item { span: span(offset), received_ns: 0, start: 0, end: 0 };
        let (items, history) = (vec![item], History::default());
        Reshape { items, route: 0, packing: Arc::new(packing), level: None, history, fold: None }
    }

    fn span(offset: u64) -> Span {
        Span { from: Offset::new(offset), to: Offset::new(offset + 1) }
    }

    /// A lane and a destination, as far as conversations go.
    #[derive(Default)]
    struct World {
        talking: Talking,
        /// What is known, as the table has it.
        known: HashMap<Name, String>,
        /// On their way, in the log's order, with what they answer to.
        flying: BTreeMap<u64, (Name, Option<String>)>,
        names: HashMap<u64, Name>,
        /// What arrived: the event, its conversation, what it answers to.
        posted: Vec<(u64, Name, Option<String>)>,
        dead: u64,
    }

    impl World {
        fn take(&mut self, offset: u64, name: Name, is_again: bool) {
            self.names.insert(offset, name);
            let at = Offset::new(offset);
            let known = self.known.get(&name).map(|it| it.as_str().into());
            match self.talking.step(at, name, known, is_again) {
                Step::Wait => self.talking.wait(name, reshape(offset)),
                Step::Say(said) => {
                    let answers = said.answers.as_deref().map(str::to_owned);
                    self.talking.at_hand = Some((at, said));
                    self.talking.on_pushed(at);
                    self.flying.insert(offset, (name, answers));
                }
            }
        }

        fn go_on(&mut self) {
            while let Some(reshape) = self.talking.next_ready(|_| true) {
                let offset = reshape.items[0].span.from.bytes();
                self.take(offset, self.names[&offset], true);
            }
        }

        /// Answers one that is on its way, as the draw says.
        fn answer(&mut self, draw: u8) {
            let at = usize::from(draw) % self.flying.len().max(1);
            let Some((&offset, _)) = self.flying.iter().nth(at) else { return };
            let (name, answers) = self.flying.remove(&offset).expect("it is there");
            let is_there = answers.as_ref().is_none_or(|id| self.known.get(&name) == Some(id));
            match (is_there, draw) {
                (false, _) => return self.take(offset, name, true),
                (true, 0..=20) => self.dead += 1,
                // Rendered again for a reason of its own.
                (true, 21..=40) => return self.take(offset, name, true),
                (true, _) => {
                    if answers.is_none() {
                        self.known.insert(name, offset.to_string());
                    }
                    self.posted.push((offset, name, answers));
                }
            }
            self.talking.on_end(span(offset));
        }
    }

    #[test]
    fn one_begins_and_all_arrive_whatever_happens() {
        let seed = std::env::var("SEED").map_or(0, |text| text.parse().expect("a number"));
        println!("seed {seed}");
        for round in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed * 1000 + round);
            let (mut world, mut offset) = (World::default(), 0);
            let about = |world: &World| format!("seed {seed}, round {round}: {:?}", world.posted);
            while offset < 60 || !world.flying.is_empty() || world.talking.events() > 0 {
                match random.u8(0..10) {
                    0..=4 if offset < 60 => {
                        world.take(offset, [random.u8(0..4); 16], false);
                        offset += 1;
                    }
                    // Deleted by somebody.
                    5 if random.bool() => {
                        world.known.remove(&[random.u8(0..4); 16]);
                    }
                    _ => world.answer(random.u8(..)),
                }
                world.go_on();
                let begins = world.flying.values().filter(|(_, answers)| answers.is_none());
                let mut begins: Vec<Name> = begins.map(|(name, _)| *name).collect();
                begins.sort_unstable();
                assert!(begins.is_sorted_by(|a, b| a < b), "{}", about(&world));
            }
            assert_eq!(world.posted.len() as u64 + world.dead, 60, "{}", about(&world));
            for (offset, name, answers) in &world.posted {
                let Some(answers) = answers else { continue };
                let first = world.posted.iter().find(|(other, ..)| other.to_string() == *answers);
                let (_, other, none) = first.expect("it was posted before");
                assert_eq!((other, none), (name, &None), "{offset}: {}", about(&world));
            }
            let Talking { sent, begun, ready, .. } = &world.talking;
            assert!(sent.is_empty() && ready.is_empty() && begun.is_empty(), "{}", about(&world));
        }
    }

    #[test]
    fn what_retention_takes_waits_no_more() {
        let mut world = World::default();
        for offset in 0..4 {
            world.take(offset, [7; 16], false);
        }
        assert_eq!((world.talking.events(), world.flying.len()), (3, 1));
        let mut skipped = Vec::new();
        world.talking.give_up_below(Offset::new(3), &mut skipped);
        assert_eq!(skipped.iter().map(|it| it.span.from.bytes()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(world.talking.events(), 1);
        // One from below that comes later goes too.
        world.talking.wait([8; 16], reshape(0));
        world.talking.give_up_below(Offset::new(3), &mut skipped);
        assert_eq!((skipped.len(), world.talking.events()), (3, 1));
        world.talking.on_end(span(0));
        world.flying.clear();
        world.go_on();
        assert_eq!(world.flying.keys().collect::<Vec<_>>(), [&3]);
    }
}
