//! Rendered events, and the stream that patches them.

use super::event::{Places, SHAPES, Shape, render};
use crate::clock::Rfc3339;
use crate::id::{self, EventId};
use crate::seed::Random;

/// A few thousand rendered events, one JSON line each, in one piece of memory.
#[derive(Clone, Debug)]
pub struct Pool {
    bytes: Vec<u8>,
    events: Vec<Place>,
}

/// Where an event lies in the pool.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    /// After the newline.
    end: usize,
    parts: Places,
}

impl Pool {
    /// Renders the pool of a seed: about 4 MB.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut pool = Self { bytes: Vec::new(), events: Vec::with_capacity(EVENTS) };
        for at in 0..EVENTS {
            let shape = match at {
                0 => Shape { bare: true, ..Shape::nth(3, 0) },
                1 => Shape::draw(&mut random, BYTES_MAX),
                _ if at - 2 < SHAPES => Shape::nth(at - 2, size(&mut random)),
                _ => {
                    let bytes = size(&mut random);
                    Shape::draw(&mut random, bytes)
                }
            };
            let start = pool.bytes.len();
            let parts = render(shape, &mut random, &mut pool.bytes);
            pool.bytes.push(b'\n');
            pool.events.push(Place { start, end: pool.bytes.len(), parts });
        }
        pool
    }

    /// Mean bytes of an event, its newline not counted.
    #[must_use]
    pub fn bytes_mean(&self) -> f64 {
        let events = self.events.len() as f64;
        (self.bytes.len() as f64 - events) / events
    }
}

/// Bytes of one event: log-normal, cut at both ends.
fn size(random: &mut Random) -> usize {
    let bytes = (MEDIAN_LN + SIGMA * random.normal()).exp();
    // Inside the limits by the clamp, so the conversion is exact.
    bytes.clamp(BYTES_MIN as f64, BYTES_MAX as f64) as usize
}

/// An endless run of events: the pool over and over, each time with new ids and times.
#[derive(Clone, Debug)]
pub struct Stream {
    pool: Pool,
    clock: Rfc3339,
    at: usize,
    sequence: u64,
    run: u8,
}

/// Neighbouring events in one piece, each ended by a newline.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The lines.
    pub lines: &'a [u8],
    /// How many there are; at least one.
    pub events: u64,
}

impl Stream {
    /// The stream of a seed; its low byte is the run that the ids carry.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::resume(seed, 0)
    }

    /// The same stream from a later event on.
    #[must_use]
    pub fn resume(seed: u64, sequence: u64) -> Self {
        let pool = Pool::new(seed);
        let at = (sequence % pool.events.len() as u64) as usize;
        Self { pool, clock: Rfc3339::default(), at, sequence, run: seed as u8 }
    }

    /// The sequence number of the next event.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The next events, at most `events_max` and about `bytes_max` bytes, at least one.
    ///
    /// `scheduled` tells when the event of a sequence number is due, in nanoseconds since 1970.
    pub fn next(
        &mut self,
        events_max: u64,
        bytes_max: usize,
        mut scheduled: impl FnMut(u64) -> u64,
    ) -> Batch<'_> {
        let first = self.at;
        let start = self.pool.events[first].start;
        let mut end = start;
        let mut events = 0;
        while events < events_max.max(1) && self.at < self.pool.events.len() {
            let place = self.pool.events[self.at];
            if events > 0 && place.end - start > bytes_max {
                break;
            }
            self.patch(place, scheduled(self.sequence));
            end = place.end;
            events += 1;
            self.at += 1;
            self.sequence += 1;
        }
        if self.at == self.pool.events.len() {
            self.at = 0;
        }
        Batch { lines: &self.pool.bytes[start..end], events }
    }

    /// The next event alone, without its newline.
    pub fn one(&mut self, scheduled_ns: u64) -> &[u8] {
        let batch = self.next(1, 0, |_| scheduled_ns);
        &batch.lines[..batch.lines.len() - 1]
    }

    fn patch(&mut self, place: Place, scheduled_ns: u64) {
        let event = &mut self.pool.bytes[place.start..place.end];
        let id = EventId { sequence: self.sequence, scheduled_ns, run: self.run };
        let space = &mut event[place.parts.id..place.parts.id + id::LEN];
        id.write(space.try_into().expect("the slice has the length of an id"));
        let time = place.parts.time;
        self.clock.write(scheduled_ns, &mut event[time..time + place.parts.time_len]);
    }
}

/// Events in a pool: as many as the second-level cache holds twice, so that patching stays cheap.
const EVENTS: usize = 4_096;
/// The smallest size drawn; required keys alone take about 380 bytes.
const BYTES_MIN: usize = 300;
/// The largest event.
const BYTES_MAX: usize = 64 * 1024;
/// Logarithm of the median of the sizes drawn. Events that are larger without any filling push the
/// mean up; with this median it comes to about 1,000 bytes.
const MEDIAN_LN: f64 = 6.0;
/// Spread of the logarithm: one event in a hundred is above 4 KB.
const SIGMA: f64 = 0.75;
