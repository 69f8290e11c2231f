//! What a lane of the pipeline does: read the log, fill batches, send, act on outcomes.

use shrike::deliver::{Action, Batch, BatchId, Order, Part, Pushed, Reason, Reshape};
use shrike::event::{Offset, Settle, Severity, Span};

use crate::mutation::Mutation;
use crate::script::MS;

use super::{Event, Lane, Place, World, document, padding};

impl World<'_> {
    /// What a lane of the pipeline does whenever it runs.
    pub(super) fn run_lane(&mut self, lane: usize) -> Result<(), String> {
        for _ in 0..1000 {
            self.fill(lane)?;
            let now = self.instant();
            let action = self.lanes[lane].sender.poll(now, &mut self.outcomes);
            let had_outcomes = !self.outcomes.is_empty();
            self.act(lane)?;
            match action {
                Action::Send { id, endpoint, group, .. } => self.send(lane, id, endpoint, group)?,
                Action::PollAcks { endpoint, group, ids } => {
                    let end = self.destination.poll(endpoint, group, &ids, self.now);
                    let to = (endpoint, group);
                    self.at(end.after, Event::Polled { lane, to, ids, result: end.result });
                }
                Action::Verify { .. } => return Err("it verifies what nobody named".into()),
                Action::Probe { endpoint } => {
                    let end = self.destination.probe(endpoint, self.now);
                    self.at(end.after, Event::Probed { lane, endpoint, result: end.result });
                }
                Action::Wait(_) | Action::Idle if had_outcomes || self.park(lane) => {}
                Action::Wait(at) => {
                    let at = u64::try_from(at.duration_since(self.base).as_nanos());
                    let at = at.expect("within a schedule");
                    if at <= self.now {
                        return Err("a lane waits for the past".into());
                    }
                    self.wake(lane, at);
                    return Ok(());
                }
                Action::Idle => return Ok(()),
            }
        }
        Err("a lane never comes to rest".into())
    }

    pub(super) fn send(
        &mut self,
        lane: usize,
        id: BatchId,
        endpoint: usize,
        group: u32,
    ) -> Result<(), String> {
        let batch = self.lanes[lane].sender.batch(id).ok_or("it sends a batch it has not")?;
        let body = batch.body().ok_or("it sends a batch without a body")?;
        let encoding = batch.encoding();
        let items: Vec<Span> = batch.items().iter().map(|item| item.span).collect();
        self.count_request(self.event(items[0]))?;
        let end = self.destination.send(endpoint, group, &body, encoding, self.now);
        self.at(end.after, Event::Sent { lane, id, result: end.result });
        if self.mutation == Some(Mutation::SettleEarly) {
            for span in items {
                let event = self.event(span);
                if self.places[event as usize] == Place::Lane {
                    self.settle(&[self.one(event, Settle::Delivered)])?;
                }
            }
        }
        Ok(())
    }

    /// Reads the log into open batches, and closes what is to be closed.
    pub(super) fn fill(&mut self, lane: usize) -> Result<(), String> {
        loop {
            let now = self.now;
            let at = self.instant();
            let Lane { sender, open, .. } = &mut self.lanes[lane];
            if let Some(ripe) = open
                .iter()
                .position(|(_, _, since)| sender.is_hungry(at) && now >= since + self.script.linger)
            {
                let (_, mut batch, _) = open.remove(ripe);
                batch.close();
                sender.enqueue(batch);
                continue;
            }
            if let Some(first) = open.iter().map(|(_, _, since)| since + self.script.linger).min()
                && first > now
            {
                self.wake(lane, first);
            }
            let Some(event) = self.next_event(lane)? else { return Ok(()) };
            if !self.push(lane, event) {
                self.give_back(lane);
                return Ok(());
            }
            self.put(event, Place::Lane);
            self.read_on(lane, event);
        }
    }

    /// The next event that the lane is to take, from its stripe or the next one that it claims;
    /// what is filtered or given up is settled on the way.
    pub(super) fn next_event(&mut self, lane: usize) -> Result<Option<u32>, String> {
        loop {
            let head = self.head();
            let claimed = self.lanes[lane].claim.or_else(|| self.board.claim(lane, head));
            let Some(claim) = claimed else { return Ok(None) };
            self.lanes[lane].claim = Some(claim);
            let position = claim.position.bytes();
            let next = self.ends.partition_point(|end| *end <= position);
            let next = u32::try_from(next).expect("few events");
            let is_last = self.mutation == Some(Mutation::FinishEarly)
                && self.script.events > next
                && self.ends[next as usize] >= claim.end.bytes();
            if next < self.script.events && self.start_of(next) < position {
                // Inside of a record that lies further on: nothing starts in this stripe.
                self.pass(lane, Offset::new(self.ends[next as usize]));
                continue;
            }
            if self.start_of(next) >= claim.end.bytes() || is_last {
                self.pass(lane, claim.end);
                continue;
            }
            if next >= self.arrived {
                return Ok(None);
            }
            if self.is_resumed(next) {
                if !matches!(self.places[next as usize], Place::Settled(_)) {
                    return Err(format!("unsettled event {next} is skipped on resuming"));
                }
                self.read_on(lane, next);
                continue;
            }
            if self.places[next as usize] != Place::Unread {
                return Err(format!("event {next} is read twice"));
            }
            let is_given_up = self.span(next).to <= self.floor;
            let is_filtered = next % 7 == 3 && !self.script.poison.contains_key(&next);
            let fate = match (is_given_up, is_filtered) {
                (true, _) => Settle::Skipped,
                (false, true) => Settle::Filtered,
                (false, false) => return Ok(Some(next)),
            };
            self.put(next, Place::Lane);
            self.read_on(lane, next);
            self.settle(&[self.one(next, fate)])?;
        }
    }

    /// The lane has read a record.
    fn read_on(&mut self, lane: usize, event: u32) {
        self.pass(lane, self.span(event).to);
    }

    /// The lane goes on at an offset; beyond its stripe that is finished.
    fn pass(&mut self, lane: usize, to: Offset) {
        let Some(claim) = &mut self.lanes[lane].claim else { return };
        claim.position = to;
        if to >= claim.end {
            self.board.finish(claim.stripe);
            self.lanes[lane].claim = None;
        }
    }

    /// A lane that has no room gives the unread rest of its stripe to the others, now and then.
    fn give_back(&mut self, lane: usize) {
        if self.rng.u8(..8) > 0 {
            return;
        }
        let Some(claim) = self.lanes[lane].claim.take() else { return };
        let position = match self.mutation {
            Some(Mutation::GiveBackTooMuch) => Offset::new(claim.stripe * self.script.stripe),
            _ => claim.position,
        };
        self.board.release(claim.stripe, position);
        (0..self.lanes.len()).for_each(|other| self.wake(other, self.now));
    }

    /// Pushes an event into the lane's open batch of its route; false when there is no room now.
    pub(super) fn push(&mut self, lane: usize, event: u32) -> bool {
        let route = event % self.script.routes;
        let span = self.span(event);
        for _ in 0..2 {
            let Lane { sender, open, .. } = &mut self.lanes[lane];
            let found = open.iter_mut().position(|(of, _, _)| *of == route);
            let at = match found {
                Some(at) => at,
                None if !sender.room() => return false,
                None => {
                    let batch = Batch::new(&self.packing, route, &self.buffers, &self.allowance);
                    open.push((route, batch, self.now));
                    open.len() - 1
                }
            };
            let batch = &mut open[at].1;
            let pad = padding(self.script, event, None);
            let pushed = batch.push(span, u64::from(event), Severity::Info, |part, out| {
                assert_eq!(part, Part::Document);
                document(event, pad, out);
            });
            match pushed {
                Pushed::Fits => {
                    batch.turn(512);
                    if batch.is_full() && sender.room() {
                        self.close(lane, at);
                    }
                    return true;
                }
                Pushed::Full if !sender.room() => return false,
                Pushed::Full => self.close(lane, at),
                Pushed::TooLarge => unreachable!("limits are above every document"),
                Pushed::Defect => unreachable!("documents of a test can be rendered"),
            }
        }
        unreachable!("an empty batch takes any event")
    }

    /// Ends a batch; where order matters what was begun before it goes first.
    fn close(&mut self, lane: usize, at: usize) {
        let is_ordered = self.script.order != Order::Any;
        let Lane { sender, open, .. } = &mut self.lanes[lane];
        for _ in if is_ordered { 0..=at } else { at..=at } {
            let (_, mut batch, _) = open.remove(if is_ordered { 0 } else { at });
            batch.close();
            sender.enqueue(batch);
        }
    }

    /// Acts on outcomes, as the pipeline would.
    pub(super) fn act(&mut self, lane: usize) -> Result<(), String> {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.judge_requests(&outcomes)?;
        if self.mutation == Some(Mutation::SettleEarly) {
            outcomes.settled.clear();
        }
        self.settle(&outcomes.settled)?;
        for letter in outcomes.dead.drain(..) {
            let event = self.event(letter.item.span);
            self.judge_letter(event, letter.retryable)?;
            self.put(event, Place::Dying);
            if self.mutation == Some(Mutation::DropDeadLetters) {
                self.settle(&[self.one(event, Settle::DeadLettered)])?;
                continue;
            }
            let later = self.rng.u64(..50 * MS);
            self.at(later, Event::Stored { letter: event });
        }
        for reshape in outcomes.reshape.drain(..) {
            self.render_again(lane, &reshape);
        }
        for other in 0..self.lanes.len() {
            if outcomes.wake & (1 << other) != 0 && other != lane {
                self.wake(other, self.now);
            }
        }
        outcomes.clear();
        let left = std::mem::replace(&mut self.outcomes, outcomes);
        match left.is_empty() {
            true => Ok(()),
            // Giving an event up adds a dead letter.
            false => {
                self.outcomes = left;
                self.act(lane)
            }
        }
    }

    pub(super) fn render_again(&mut self, lane: usize, reshape: &Reshape) {
        let again = || Batch::again(&self.packing, reshape, &self.buffers, &self.allowance);
        let mut batch = again();
        let sender = &mut self.lanes[lane].sender;
        for item in &reshape.items {
            let at = self.ends.partition_point(|end| *end <= item.span.from.bytes());
            let event = u32::try_from(at).expect("few events");
            let pad = padding(self.script, event, reshape.level);
            loop {
                let pushed = batch.push(item.span, item.received_ns, Severity::Info, |_, out| {
                    document(event, pad, out);
                });
                match pushed {
                    Pushed::Fits => break,
                    Pushed::Full => {
                        let mut full = std::mem::replace(&mut batch, again());
                        full.close();
                        sender.enqueue(full);
                    }
                    Pushed::TooLarge => {
                        sender.give_up(*item, reshape, Reason::default(), &mut self.outcomes);
                        break;
                    }
                    Pushed::Defect => unreachable!("documents of a test can be rendered"),
                }
            }
        }
        if !batch.is_empty() {
            batch.close();
            sender.enqueue(batch);
        }
    }
}
