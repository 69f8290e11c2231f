//! Places that are wrong by themselves: what waits for one is set aside, and the others go on.

use shrike::deliver::Order;
use shrike::event::{Offset, Span};

use crate::mutation::Mutation;
use crate::script::S;

use super::{Lane, Place, World};

impl World<'_> {
    /// Sets aside what waits for held places, and takes back what waits no more, as lanes do;
    /// whether there was such a thing.
    pub(super) fn park(&mut self, lane: usize) -> bool {
        let is_strict = self.script.order == Order::Strict;
        if is_strict || self.mutation == Some(Mutation::NeverSetAside) {
            return false;
        }
        let now = self.instant();
        let Lane { sender, parking, .. } = &mut self.lanes[lane];
        let before = parking.events();
        parking.set_aside(sender, now);
        let has_set_aside = parking.events() > before;
        let back = match self.mutation {
            Some(Mutation::KeepAside) => None,
            _ => parking.take_back(sender, None, false, now),
        };
        if sender.held_routes().next().is_some() || parking.events() > 0 {
            // Whatever wakes it, a lane looks around once a second.
            self.wake(lane, self.now + S);
        }
        let Some(back) = back else { return has_set_aside };
        for item in &back.items {
            let event = self.event(Span { from: item.span.from, to: item.span.from });
            self.aside.insert(event);
        }
        match self.mutation {
            Some(Mutation::LoseAside) => self.lanes[lane].sender.take_back(back.items.len() as u64),
            _ => self.render_again(lane, &back),
        }
        true
    }

    /// Notes what was set aside when the process ended, or given up and not stored yet: others have
    /// passed it.
    pub(super) fn note_what_was_aside(&mut self) {
        let mut left = Vec::new();
        for lane in &mut self.lanes {
            lane.parking.give_up_below(Offset::new(u64::MAX), &mut left);
        }
        for settled in left {
            let event = self.event(settled.span);
            self.aside.insert(event);
        }
        let dying = (0..).zip(&self.places).filter(|(_, place)| matches!(place, Place::Dying));
        self.aside.extend(dying.map(|(event, _)| event));
    }

    /// Notes a request to a place: by its rate no more go within a minute.
    pub(super) fn count_request(&mut self, event: u32) -> Result<(), String> {
        let Some((per_minute, burst)) = self.script.place_rate else { return Ok(()) };
        let place = self.script.place_of(event);
        let asked = &mut self.asked[place as usize];
        asked.push_back(self.now);
        while asked.front().is_some_and(|at| at + 60 * S <= self.now) {
            asked.pop_front();
        }
        match asked.len() as u64 {
            requests if requests <= per_minute + burst => Ok(()),
            requests => Err(format!("{requests} requests within a minute to place {place}")),
        }
    }

    /// What is wrong with one place keeps nothing waiting that leads elsewhere.
    pub(super) fn audit_places(&self) -> Result<(), String> {
        if !self.script.lets_others_pass() {
            return Ok(());
        }
        for (event, arrived) in (0..).zip(&self.arrivals) {
            if matches!(self.places[event as usize], Place::Settled(_) | Place::Dying) {
                continue;
            }
            let hindered = self.script.hindered_until(event, self.now);
            let since = hindered.max(*arrived).max(self.began);
            if self.now > since + PASSES_WITHIN {
                let waits = (self.now - since) / S;
                return Err(format!("event {event} waits for {waits} s behind other places"));
            }
        }
        Ok(())
    }

    /// Whether something waits for longer than it may where nothing but places was ever wrong.
    pub(super) fn heals_late(&self) -> bool {
        self.script.is_calm() && self.now > self.script.healed + CALM_WITHIN
    }

    /// Where order matters everything comes in it, but for what was set aside, or was a letter.
    pub(super) fn judge_order(&self) -> Result<(), String> {
        if self.script.order == Order::Any || self.script.may_mix() {
            return Ok(());
        }
        let mut last = vec![None; self.script.routes as usize];
        for &event in &self.destination.order {
            let was_letter = self.stored[event as usize];
            if was_letter || self.aside.contains(&event) {
                continue;
            }
            let place = match (self.script.batch_events, self.script.order) {
                // Batches of routes grow side by side.
                (2.., _) => event % self.script.routes,
                (_, Order::Loose) => self.script.place_of(event),
                // Others pass a route that is set up wrongly.
                (_, _) if self.script.holds_places() => event % self.script.routes,
                (_, _) => 0,
            } as usize;
            if last[place].is_some_and(|last| last > event) {
                let last = last[place];
                return Err(format!("event {event} came behind {last:?}"));
            }
            last[place] = Some(event);
        }
        Ok(())
    }
}

/// How long a place may keep events waiting that lead elsewhere: ten seconds until what waits for
/// it is set aside, the breaker's time where nothing else was tried yet, and what all of that means
/// for the next request.
const PASSES_WITHIN: u64 = 120 * S;
/// What waited for a place has settled this long after it is well: it is tried every minute, and
/// what was refused alone every four.
const CALM_WITHIN: u64 = 600 * S;
