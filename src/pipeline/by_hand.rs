//! An engine without threads, for simulations: each step is taken when it is asked for.

use std::sync::Arc;

use super::board::Claim;
use super::dead_letters::{Found, Gone, Leaving, Letter, Place, Wanted};
use super::engine::{EngineError, EngineOptions, running};
use super::exporter::Exporter;
use super::keeper::{Keeper, Saves};
use super::prepared::Prepared;
use super::status::ExporterStatus;
use crate::deliver::{DeadLetter, Sent};
use crate::event::{Gap, GapReason, Offset, Settle, Settled, Span};
use crate::log::{Log, LogError, Read, Reader};

/// Log, cursors, letters, receipts, boards, watermarks and the keeper's decisions of an engine, as
/// they are; reading, sending and waiting are up to whoever holds it.
pub struct ByHand {
    keeper: Keeper,
    reader: Reader,
    hands: Vec<Hand>,
}

/// An exporter and the place of its first lane.
struct Hand {
    exporter: Arc<Exporter>,
    reading: Option<(Claim, Offset)>,
    letters: Option<(Reader, Place)>,
}

impl std::fmt::Debug for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByHand").field("log", &self.keeper.log).finish_non_exhaustive()
    }
}

impl ByHand {
    /// Opens what an engine keeps, as [`super::Engine::start`] does.
    ///
    /// # Errors
    /// As there, and where the state of an exporter cannot be used.
    pub fn start(log: Log, options: EngineOptions) -> Result<Self, EngineError> {
        let Prepared { keeper, .. } = Prepared::new(log, options)?;
        if let Some((name, problem)) = keeper.stopped() {
            return Err(EngineError::Exporter { name, problem });
        }
        let hand = |exporter: Arc<Exporter>| Hand { exporter, reading: None, letters: None };
        let exporters: Vec<_> =
            running(&keeper.exporters).iter().map(|it| Arc::clone(&it.exporter)).collect();
        let hands = exporters.into_iter().map(hand).collect();
        Ok(Self { reader: keeper.log.reader(), keeper, hands })
    }

    /// The next event that an exporter has to deal with; what lies before it and holds none is
    /// settled, and what is lost or given up is skipped.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn take(&mut self, exporter: usize) -> Result<Option<Span>, LogError> {
        let Self { keeper, reader, hands } = self;
        let hand = &mut hands[exporter];
        loop {
            let head = keeper.log.written();
            let Some((claim, at)) = hand.claim(head) else { return Ok(None) };
            let next = match reader.read(at, head.min(claim.end), 1)? {
                Read::Block(block) => {
                    let first = block
                        .records()
                        .first()
                        .map(|it| Span { from: it.frame.offset, to: it.next });
                    let (found, next) = match first {
                        Some(span) => (span, span.to),
                        None => {
                            (Span { from: block.span().to, to: block.span().to }, block.span().to)
                        }
                    };
                    hand.pass(Span { from: at, to: found.from });
                    hand.go_to(next);
                    if let Some(own) = hand.own(found) {
                        return Ok(Some(own));
                    }
                    next
                }
                Read::Cold(span) => {
                    // What the disk cannot read is damaged: the next read tells.
                    drop(reader.warm(span));
                    at
                }
                Read::Gone { oldest } => {
                    let to = oldest.min(claim.end);
                    hand.lose(Span { from: at, to }, reader, GapReason::Retention)?;
                    to
                }
                Read::Damaged { span, .. } => {
                    hand.lose(Span { from: at, to: span.to }, reader, GapReason::Damage)?;
                    span.to
                }
                Read::End => return Ok(None),
            };
            hand.go_to(next);
        }
    }

    /// Notes that a request settled events which were taken.
    pub fn settle(&mut self, exporter: usize, sent: Sent, settled: &[Settled]) {
        let exporter = &self.hands[exporter].exporter;
        exporter.settle_sent(sent, settled);
        exporter.lanes[0].events.part_with(settled.iter().map(|it| it.events).sum());
    }

    /// Gives up an event that was taken.
    pub fn bury(&mut self, exporter: usize, dead: &DeadLetter, document: Vec<u8>) {
        let exporter = &self.hands[exporter].exporter;
        exporter.bury(0, dead, Some(document));
    }

    /// Makes the letters of an exporter durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn flush_letters(&self, exporter: usize) -> Result<(), LogError> {
        self.hands[exporter].exporter.dead_letters.flush()
    }

    /// The next letter of an exporter that may be sent again, if there is one; behind the last it
    /// begins anew.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn letter(&mut self, exporter: usize) -> Result<Option<(Span, Letter)>, LogError> {
        let hand = &mut self.hands[exporter];
        let letters = &hand.exporter.dead_letters;
        let place = || Some((letters.reader()?, letters.place()?));
        let Some((mut reader, mut place)) = hand.letters.take().or_else(place) else {
            return Ok(None);
        };
        loop {
            match letters.next(&mut reader, &mut place, &Wanted::default())? {
                Found::Letter(found) => {
                    hand.letters = Some((reader, place));
                    return Ok(Some((found.span, found.letter)));
                }
                Found::Cold(span) => drop(reader.warm(span)),
                Found::Nothing => {}
                Found::Unsaved | Found::End => return Ok(None),
            }
        }
    }

    /// Notes that the event of a letter was delivered after all.
    pub fn deliver_letter(&mut self, exporter: usize, (span, letter): &(Span, Letter)) {
        let taken = Leaving { letter: *span, event: Offset::new(letter.offset) };
        let letters = &self.hands[exporter].exporter.dead_letters;
        letters.remove(&[taken], Gone::Replayed, letter.pass, None);
    }

    /// The next gap that the destination has to be told.
    pub fn take_gap(&mut self, exporter: usize) -> Option<Gap> {
        self.hands[exporter].exporter.watermark().take_gap()
    }

    /// Notes that it was told.
    pub fn close_gap(&mut self, exporter: usize, gap: Gap) {
        self.hands[exporter].exporter.watermark().close_gap(gap);
    }

    /// Everything below was given up.
    #[must_use]
    pub fn floor(&self, exporter: usize) -> Offset {
        self.hands[exporter].exporter.floor()
    }

    /// The keeper saves what has settled; false where the disk refused.
    pub fn save(&mut self) -> bool {
        self.keeper.save(Saves::All)
    }

    /// The keeper gives up what lags too far behind, and lets go what nobody needs.
    pub fn look_after(&mut self) {
        self.keeper.look_after();
    }

    /// How an exporter is.
    #[must_use]
    pub fn status(&self, exporter: usize) -> ExporterStatus {
        let now = std::time::Instant::now();
        ExporterStatus::new(&self.hands[exporter].exporter, &self.reader, now)
    }
}

impl Hand {
    /// The stripe that it reads, and from where; a new one where the last was read to its end.
    fn claim(&mut self, head: Offset) -> Option<(Claim, Offset)> {
        let board = &self.exporter.board;
        if let Some((claim, _)) = self.reading.take_if(|(claim, at)| *at >= claim.end) {
            board.finish(claim.stripe);
        }
        if self.reading.is_none() {
            self.reading = board.claim(0, head).map(|claim| (claim, claim.position));
            let at = self.reading.map_or(Offset::ZERO, |(_, at)| at);
            self.go_to(at);
        }
        self.reading
    }

    /// Notes how far it has read.
    fn go_to(&mut self, next: Offset) {
        use std::sync::atomic::Ordering;
        let lane = &self.exporter.lanes[0];
        let (from, to) = match &mut self.reading {
            Some((claim, at)) => {
                *at = next;
                (next.bytes().min(claim.end.bytes()), claim.end.bytes())
            }
            None => (0, 0),
        };
        lane.unread_from.store(from, Ordering::Release);
        lane.unread_to.store(to, Ordering::Release);
    }

    /// What of a record is to be dealt with: earlier runs may have settled some or all of it.
    fn own(&self, span: Span) -> Option<Span> {
        if span.from == span.to {
            return None;
        }
        let exporter = &self.exporter;
        let mut parts = exporter.unsettled(span);
        let own = parts.first().is_some_and(|first| first.from == span.from);
        let own = own.then(|| parts.remove(0));
        parts.into_iter().for_each(|part| self.pass(part));
        let own = own?;
        if own.to <= exporter.floor() {
            exporter.settle(&[Settled { span: own, events: 1, fate: Settle::Skipped }]);
            return None;
        }
        exporter.lanes[0].events.take_on(1);
        Some(own)
    }

    /// Settles bytes that hold no event.
    fn pass(&self, span: Span) {
        if span.from < span.to {
            let filler = |span| Settled { span, events: 0, fate: Settle::Filtered };
            let parts: Vec<_> = self.exporter.unsettled(span).into_iter().map(filler).collect();
            self.exporter.settle(&parts);
        }
    }

    /// Settles what cannot be read as skipped.
    fn lose(&self, span: Span, reader: &Reader, reason: GapReason) -> Result<(), LogError> {
        let mut lost = Vec::new();
        for span in self.exporter.unsettled(span) {
            lost.push(Settled { span, events: reader.count(span)?, fate: Settle::Skipped });
        }
        self.exporter.watermark().settle_for(&lost, reason);
        Ok(())
    }
}
