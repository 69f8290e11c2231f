//! What an exporter has settled, in whatever order it settles.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{
    Anchor, Checkpoint, Counts, Gap, GapReason, Offset, Settle, Settled, Span, Tally,
};

/// Joins settled spans into a checkpoint that never passes an unsettled event.
///
/// Told of every settled span once, by any lane, in any order. Settling in order costs O(1);
/// out of order, O(log n) in the spans ahead, which the lanes' windows bound.
#[derive(Clone, Debug)]
pub struct Watermark {
    pass: u32,
    start: Offset,
    /// Everything from `start` to here is settled and durable.
    base: Offset,
    tally: Tally,
    /// Events below are told of one by one; zero once they are settled.
    alert_below: Offset,
    /// Settled and durable spans above `base`: disjoint, never adjacent.
    ahead: BTreeMap<Offset, Offset>,
    /// Settled since the last checkpoint, not yet known to be durable.
    recent: Vec<Group>,
    gaps: Vec<Gap>,
    /// How many of the gaps, from the first on, are on their way to the destination.
    gaps_taken: usize,
    /// Removals of dead letters up to this number are in `durable`.
    removed: u64,
    /// Removals whose events are in `counts` and not yet in `durable`, oldest first.
    removals: VecDeque<Removal>,
    /// Events of all that `base` and `ahead` cover.
    durable: Counts,
    /// Events of everything that settled.
    counts: Counts,
    /// What settled since it was taken last, where receipts are written.
    journal: Option<Vec<Entry>>,
    /// What the journal weighs: see [`Watermark::unwritten`].
    journal_pieces: usize,
    /// Events that were lost, by the number of the reason.
    lost: [u64; GapReason::ALL.len()],
    conflicts: u64,
    ahead_peak: usize,
    moved: bool,
}

/// What settled, for the receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The request that did it, where one did.
    pub sent: Option<Sent>,
    /// What settled.
    pub settled: Vec<Settled>,
    /// Dead letters that have met another end, where it was those.
    pub moved: Option<Moved>,
}

/// Dead letters that have met another end after all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Delivered, filtered where a digest told of them, or none where somebody removed them.
    pub fate: Option<Settle>,
    /// In which pass their events were given up.
    pub pass: u32,
    /// How many of them this pass counts as dead letters until now.
    pub events: u64,
    /// Where their events lie in the log.
    pub at: Vec<Offset>,
}

/// A request as it is told in receipts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests that carried the batch, this one included.
    pub attempts: u32,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the body as sent.
    pub bytes: u64,
    /// BLAKE3 of these bytes.
    pub digest: [u8; 32],
}

/// Adjacent settled spans, counted together.
#[derive(Clone, Copy, Debug)]
struct Group {
    span: Span,
    counts: Counts,
    /// Why they are lost, where they are.
    lost: Option<GapReason>,
}

impl Group {
    /// What is told of it as lost. Where the log itself has lost it, also where nobody can count
    /// how much that was.
    fn gap(&self) -> Option<Gap> {
        let &Self { span, counts, lost } = self;
        let reason = lost.filter(|&reason| counts.skipped > 0 || reason != GapReason::Lag)?;
        Some(Gap { span, events: counts.skipped, reason })
    }
}

/// What dead letters that have met another end do to the counts.
#[derive(Clone, Copy, Debug)]
struct Removal {
    fate: Option<Settle>,
    events: u64,
    number: u64,
}

impl Watermark {
    /// A new pass over the log.
    #[must_use]
    pub fn begin(pass: u32, start: Offset) -> Self {
        Self::open(&Checkpoint { pass, start, base: start, ..Checkpoint::default() })
    }

    /// Goes on where a checkpoint left off.
    #[must_use]
    pub fn open(checkpoint: &Checkpoint) -> Self {
        Self {
            pass: checkpoint.pass,
            start: checkpoint.start,
            base: checkpoint.base,
            tally: checkpoint.tally,
            alert_below: checkpoint.alert_below,
            ahead: checkpoint.ahead.iter().map(|span| (span.from, span.to)).collect(),
            recent: Vec::new(),
            gaps: checkpoint.gaps.clone(),
            gaps_taken: 0,
            removed: checkpoint.removals,
            removals: VecDeque::new(),
            durable: checkpoint.counts,
            counts: checkpoint.counts,
            journal: None,
            journal_pieces: 0,
            lost: [0; GapReason::ALL.len()],
            conflicts: 0,
            ahead_peak: checkpoint.ahead.len(),
            moved: false,
        }
    }

    /// What a new pass takes over: the number of the pass, gaps, and removals.
    #[must_use]
    pub fn resume(&self) -> Checkpoint {
        let removals = self.removals.back().map_or(self.removed, |removal| removal.number);
        let (pass, gaps) = (self.pass, self.gaps.clone());
        Checkpoint { pass, gaps, removals, ..Checkpoint::default() }
    }

    /// Takes in what settled; each event is told once.
    ///
    /// Skipped events open a gap: the exporter lagged too far behind.
    pub fn settle(&mut self, settled: &[Settled]) {
        self.settle_for(settled, GapReason::Lag);
    }

    /// The same, where skipped events are lost for this reason.
    pub fn settle_for(&mut self, settled: &[Settled], reason: GapReason) {
        if let Some(journal) = &mut self.journal {
            match journal.last_mut() {
                Some(last) if last.sent.is_none() && last.moved.is_none() => {
                    let before = last.settled.len();
                    join(settled, &mut last.settled);
                    self.journal_pieces += last.settled.len() - before;
                }
                _ => self.enter(Entry { settled: settled.to_vec(), ..Entry::default() }),
            }
        }
        self.take_in(settled, reason);
    }

    /// Takes in what a request settled.
    pub fn settle_sent(&mut self, sent: Sent, settled: &[Settled]) {
        self.enter(Entry { sent: Some(sent), settled: settled.to_vec(), ..Entry::default() });
        self.take_in(settled, GapReason::Lag);
    }

    /// Whether something is in the journal that nobody took.
    #[must_use]
    pub fn has_journal(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| !journal.is_empty())
    }

    /// Keeps a journal from now on.
    pub fn keep_journal(&mut self) {
        self.journal.get_or_insert_default();
    }

    /// What settled since the last call.
    pub fn take_journal(&mut self) -> Vec<Entry> {
        self.journal_pieces = 0;
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How much waits in memory for whoever writes receipts and checkpoints, in pieces of the log:
    /// it grows as long as that one waits for the disk.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.journal_pieces.max(self.recent.len())
    }

    fn enter(&mut self, entry: Entry) {
        if let Some(journal) = &mut self.journal {
            let moved = entry.moved.as_ref().map_or(0, |moved| moved.at.len());
            self.journal_pieces += ENTRY_PIECES + entry.settled.len() + moved;
            journal.push(entry);
        }
    }

    fn take_in(&mut self, settled: &[Settled], reason: GapReason) {
        for &Settled { span, events, fate } in settled {
            debug_assert!(span.from < span.to, "an empty span settles nothing: {span:?}");
            self.counts.add(fate, events);
            let lost = (fate == Settle::Skipped).then_some(reason);
            lost.iter().for_each(|&reason| self.lost[reason as usize] += events);
            let joins = |last: &Group| {
                last.span.to == span.from
                    && last.lost == lost
                    && last.span.bytes() < GROUP_BYTES_MAX
            };
            match self.recent.last_mut() {
                Some(last) if joins(last) => {
                    last.span.to = span.to;
                    last.counts.add(fate, events);
                }
                _ => {
                    let mut counts = Counts::default();
                    counts.add(fate, events);
                    self.recent.push(Group { span, counts, lost });
                }
            }
        }
    }

    /// Takes in that dead letters were delivered after all, or filtered where a digest told of
    /// them; the store has noted that durably as the removal of this number.
    pub fn move_letters(&mut self, fate: Settle, events: u64, number: u64) {
        let moved = Moved { fate: Some(fate), pass: self.pass, events, ..Moved::default() };
        self.take_moved(None, moved, number);
    }

    /// The same of what has met any other end, and by which request. Letters of another pass, and
    /// those that somebody removed, change no count of this one.
    pub fn take_moved(&mut self, sent: Option<Sent>, moved: Moved, number: u64) {
        let is_counted = moved.pass == self.pass && moved.fate.is_some();
        let events = if is_counted { moved.events } else { 0 };
        debug_assert!(events <= self.counts.dead_lettered, "a letter met its end twice");
        let events = events.min(self.counts.dead_lettered);
        let fate = moved.fate;
        move_counts(&mut self.counts, fate, events);
        self.enter(Entry { sent, moved: Some(Moved { events, ..moved }), ..Entry::default() });
        self.removals.push_back(Removal { fate, events, number });
        self.moved = true;
    }

    /// Events that were lost since this began, by [`GapReason::ALL`].
    #[must_use]
    pub fn lost(&self) -> [u64; GapReason::ALL.len()] {
        self.lost
    }

    /// The checkpoint over everything settled below `durable`; `None` when it has not moved.
    #[must_use]
    pub fn checkpoint(&mut self, durable: Offset) -> Option<Checkpoint> {
        let last = self.last(durable);
        std::mem::take(&mut self.moved).then_some(last)
    }

    /// The same whether it moved or not, for whoever goes on from here.
    #[must_use]
    pub fn last(&mut self, durable: Offset) -> Checkpoint {
        self.absorb_durable(durable);
        Checkpoint {
            pass: self.pass,
            start: self.start,
            base: self.base,
            tally: self.tally,
            alert_below: self.alert_below,
            ahead: self.ahead.iter().map(|(&from, &to)| Span { from, to }).collect(),
            gaps: self.gaps.clone(),
            counts: self.durable,
            removals: self.removed,
            anchor: Anchor::default(),
        }
    }

    /// Takes what has settled below `durable` into the next checkpoint; how many spans that has.
    pub fn absorb_durable(&mut self, durable: Offset) -> usize {
        self.recent.sort_unstable_by_key(|group| group.span.from);
        let mut recent = std::mem::take(&mut self.recent);
        recent.retain(|group| {
            let is_durable = group.span.to <= durable;
            if is_durable {
                self.absorb(group);
            }
            !is_durable
        });
        self.recent = recent;
        self.ahead_peak = self.ahead_peak.max(self.ahead.len());
        self.absorb_removals();
        if self.base >= self.alert_below {
            self.alert_below = Offset::ZERO;
        }
        self.ahead.len()
    }

    /// Notes that events are lost.
    ///
    /// As long as the last gap's record is not on its way it grows instead of making another, so
    /// that an outage of hours ends with a few records.
    fn open_gap(&mut self, gap: Gap) {
        let is_free = self.gaps_taken < self.gaps.len();
        match self.gaps.last_mut() {
            Some(last) if is_free && last.reason == gap.reason => {
                last.span.from = last.span.from.min(gap.span.from);
                last.span.to = last.span.to.max(gap.span.to);
                last.events += gap.events;
            }
            _ => self.gaps.push(gap),
        }
        self.moved = true;
    }

    /// The oldest gap whose record is not on its way; it is now.
    pub fn take_gap(&mut self) -> Option<Gap> {
        let gap = self.gaps.get(self.gaps_taken).copied()?;
        self.gaps_taken += 1;
        Some(gap)
    }

    /// Whether there are gaps whose record was not delivered, or will be.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        !self.gaps.is_empty() || self.recent.iter().any(|group| group.gap().is_some())
    }

    /// Whether there is a gap to take.
    #[must_use]
    pub fn has_free_gap(&self) -> bool {
        self.gaps_taken < self.gaps.len()
    }

    /// Notes that a gap's record was delivered, or given up.
    pub fn close_gap(&mut self, gap: Gap) {
        let taken = &self.gaps[..self.gaps_taken];
        if let Some(at) = taken.iter().position(|it| *it == gap) {
            self.gaps.remove(at);
            self.gaps_taken -= 1;
            self.moved = true;
        }
    }

    /// Notes how many events the pass had up to an offset: retention may take them.
    pub fn note_tally(&mut self, tally: Tally) {
        debug_assert!(tally.to >= self.tally.to, "a tally only grows");
        self.tally = tally;
        self.moved = true;
    }

    /// What was counted before retention could take it.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Makes the next checkpoint one that moved, though nothing settled: a new pass begins.
    pub fn touch(&mut self) {
        self.moved = true;
    }

    /// The gaps whose record is still to be sent.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The first offset at or after `offset` that the last checkpoint does not cover.
    ///
    /// A reader that resumes asks before each record, so that nothing settled is sent again.
    #[must_use]
    pub fn next_unsettled(&self, offset: Offset) -> Offset {
        let offset = offset.max(self.base);
        match self.ahead.range(..=offset).next_back() {
            Some((_, &to)) if to > offset => to,
            _ => offset,
        }
    }

    /// What the last checkpoint does not cover, below an offset.
    #[must_use]
    pub fn uncovered(&self, until: Offset) -> Vec<Span> {
        let (mut spans, mut from) = (Vec::new(), self.base);
        for (&start, &to) in self.ahead.iter().take_while(|&(&start, _)| start < until) {
            spans.push(Span { from, to: start });
            from = to;
        }
        spans.push(Span { from, to: until });
        spans.retain(|span| span.from < span.to);
        spans
    }

    /// Every settled event by fate, durable or not.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Everything below is settled and durable, as of the last checkpoint.
    #[must_use]
    pub fn base(&self) -> Offset {
        self.base
    }

    /// Events below are told of one by one, however old they are, as of the last checkpoint.
    #[must_use]
    pub fn alert_below(&self) -> Offset {
        self.alert_below
    }

    /// Where the pass began.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// Which pass this is.
    #[must_use]
    pub fn pass(&self) -> u32 {
        self.pass
    }

    /// Spans that touched settled ground: always 0 in a correct program.
    #[must_use]
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// The most spans that were ahead of the base at once.
    #[must_use]
    pub fn ahead_peak(&self) -> usize {
        self.ahead_peak
    }

    /// Moves a durable group into the base or ahead of it.
    fn absorb(&mut self, group: &Group) {
        let Span { from, to } = group.span;
        let before = self.ahead.range(..=from).next_back().map(|(&from, &to)| (from, to));
        let after = self.ahead.range(from..).next().map(|(&from, &to)| (from, to));
        let overlaps_before = before.is_some_and(|(_, end)| end > from);
        let overlaps_after = after.is_some_and(|(start, _)| start < to);
        if from < self.base || overlaps_before || overlaps_after {
            // Settled twice. The ground is covered already; leaving the counts out keeps those of
            // the checkpoint true, and the equation over `counts` shows the bug.
            self.conflicts += 1;
            return;
        }
        self.moved = true;
        self.durable = sum(self.durable, group.counts);
        group.gap().into_iter().for_each(|gap| self.open_gap(gap));
        let joins_after = after.filter(|&(start, _)| start == to);
        let to = joins_after.map_or(to, |(_, end)| end);
        if let Some((start, _)) = joins_after {
            self.ahead.remove(&start);
        }
        if from == self.base {
            self.base = to;
        } else if let Some((start, _)) = before.filter(|&(_, end)| end == from) {
            self.ahead.insert(start, to);
        } else {
            self.ahead.insert(from, to);
        }
    }
}

impl Watermark {
    /// Moves letters over, as far as their burial is in the durable counts.
    fn absorb_removals(&mut self) {
        while let Some(&Removal { fate, events, number }) = self.removals.front() {
            if events > self.durable.dead_lettered {
                return;
            }
            move_counts(&mut self.durable, fate, events);
            self.removed = number;
            self.moved = true;
            self.removals.pop_front();
        }
    }
}

/// Counts dead letters as what they are now.
fn move_counts(counts: &mut Counts, fate: Option<Settle>, events: u64) {
    if let Some(fate) = fate {
        counts.dead_lettered -= events;
        counts.add(fate, events);
    }
}

/// Adds spans behind others; neighbours of the same fate become one.
fn join(settled: &[Settled], to: &mut Vec<Settled>) {
    for it in settled {
        match to.last_mut() {
            Some(last) if last.fate == it.fate && last.span.to == it.span.from => {
                last.span.to = it.span.to;
                last.events += it.events;
            }
            _ => to.push(*it),
        }
    }
}

fn sum(a: Counts, b: Counts) -> Counts {
    Counts {
        delivered: a.delivered + b.delivered,
        dead_lettered: a.dead_lettered + b.dead_lettered,
        filtered: a.filtered + b.filtered,
        skipped: a.skipped + b.skipped,
        invalid: a.invalid + b.invalid,
    }
}

/// What an entry of the journal weighs beside its pieces: a digest and a list.
const ENTRY_PIECES: usize = 4;
/// Groups grow to about this many bytes of log, so that `durable` soon passes whole ones.
const GROUP_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Settle;

    fn span(from: u64, to: u64) -> Span {
        Span { from: Offset::new(from), to: Offset::new(to) }
    }

    fn settled(from: u64, to: u64) -> Settled {
        Settled { span: span(from, to), events: to - from, fate: Settle::Delivered }
    }

    const FAR: Offset = Offset::new(u64::MAX);

    #[test]
    fn spans_in_any_order_join_into_the_base() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..500 {
            let mut spans: Vec<Settled> = (0..40).map(|n| settled(n * 10, n * 10 + 10)).collect();
            rng.shuffle(&mut spans);
            let mut watermark = Watermark::begin(1, Offset::ZERO);
            let mut told: Vec<Settled> = Vec::new();
            for piece in spans.chunks(rng.usize(1..7)) {
                watermark.settle(piece);
                told.extend(piece);
                let checkpoint = watermark.checkpoint(FAR).expect("it moved");
                let covered = |at: u64| told.iter().any(|s| s.span.from.bytes() == at);
                let base = (0..40).find(|n| !covered(n * 10)).unwrap_or(40) * 10;
                assert_eq!(checkpoint.base.bytes(), base);
                let ahead: u64 = checkpoint.ahead.iter().map(|span| span.bytes()).sum();
                assert_eq!(base + ahead, told.len() as u64 * 10);
                assert_eq!(checkpoint.counts.delivered, base + ahead);
                for pair in checkpoint.ahead.windows(2) {
                    assert!(pair[0].to < pair[1].from, "ascending, disjoint, never adjacent");
                }
            }
            assert_eq!(watermark.base().bytes(), 400);
            assert_eq!(watermark.conflicts(), 0);
        }
    }

    #[test]
    fn a_checkpoint_never_passes_what_is_durable() {
        let mut watermark = Watermark::begin(0, Offset::ZERO);
        watermark.settle(&[settled(0, 100_000), settled(100_000, 200_000)]);
        assert_eq!(watermark.counts().delivered, 200_000);
        assert_eq!(watermark.checkpoint(Offset::new(99_999)), None);
        let first = watermark.checkpoint(Offset::new(150_000)).expect("the first is durable");
        assert_eq!((first.base.bytes(), first.counts.delivered), (100_000, 100_000));
        let second = watermark.checkpoint(FAR).expect("both are durable");
        assert_eq!((second.base.bytes(), second.counts.delivered), (200_000, 200_000));
        assert_eq!(watermark.checkpoint(FAR), None, "it has not moved since");
    }

    #[test]
    fn what_is_to_be_told_of_ends_with_the_last_event_below_it() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..500 {
            let alert_below = Offset::new(rng.u64(0..45) * 10);
            let begun = Checkpoint { pass: 2, alert_below, ..Checkpoint::default() };
            let mut watermark = Watermark::open(&begun);
            let mut spans: Vec<Settled> = (0..40).map(|n| settled(n * 10, n * 10 + 10)).collect();
            rng.shuffle(&mut spans);
            for piece in spans.chunks(rng.usize(1..7)) {
                watermark.settle(piece);
                let checkpoint = watermark.checkpoint(FAR).expect("it moved");
                let is_over = checkpoint.base >= alert_below;
                let expected = if is_over { Offset::ZERO } else { alert_below };
                assert_eq!(checkpoint.alert_below, expected, "{checkpoint:?}");
                // Whoever goes on after a crash knows as much.
                watermark = Watermark::open(&checkpoint);
            }
            assert_eq!(watermark.resume().alert_below, Offset::ZERO, "another pass asks anew");
        }
    }

    #[test]
    fn a_span_that_settles_twice_is_a_conflict_and_is_not_counted_twice() {
        for twice in [settled(0, 10), settled(25, 35), settled(5, 15), settled(15, 25)] {
            let mut watermark = Watermark::begin(0, Offset::ZERO);
            watermark.settle(&[settled(0, 10), settled(20, 30)]);
            let before = watermark.checkpoint(FAR).expect("it moved");
            watermark.settle(&[twice]);
            assert_eq!(watermark.checkpoint(FAR), None);
            assert_eq!(watermark.conflicts(), 1, "{twice:?}");
            assert_eq!(before.counts.delivered, 20);
        }
    }

    #[test]
    fn what_nobody_writes_down_is_weighed_until_somebody_does() {
        let mut watermark = Watermark::begin(0, Offset::ZERO);
        let pieces = |n: u64| settled(n * 20, n * 20 + 10);
        (0..100).for_each(|n| watermark.settle(&[pieces(n)]));
        assert_eq!(watermark.unwritten(), 100, "without receipts as well");
        watermark.checkpoint(FAR).expect("it moved");
        assert_eq!(watermark.unwritten(), 0);
        watermark.keep_journal();
        (100..200).for_each(|n| watermark.settle(&[pieces(n)]));
        assert_eq!(watermark.unwritten(), 100 + ENTRY_PIECES, "one entry");
        (200..300).for_each(|n| watermark.settle_sent(Sent::default(), &[pieces(n)]));
        assert_eq!(watermark.unwritten(), 200 + 101 * ENTRY_PIECES);
        watermark.checkpoint(FAR).expect("it moved");
        assert_eq!(watermark.take_journal().len(), 101);
        assert_eq!(watermark.unwritten(), 0);
    }

    #[test]
    fn a_reader_that_resumes_skips_what_is_ahead() {
        let mut watermark = Watermark::begin(4, Offset::new(100));
        watermark.settle(&[settled(100, 110), settled(120, 130), settled(150, 160)]);
        let checkpoint = watermark.checkpoint(FAR).expect("it moved");
        let resumed = Watermark::open(&checkpoint);
        let next: Vec<u64> = [0, 110, 115, 120, 129, 130, 150, 160, 500]
            .map(|at| resumed.next_unsettled(Offset::new(at)).bytes())
            .to_vec();
        assert_eq!(next, [110, 110, 115, 130, 130, 130, 160, 160, 500]);
        assert_eq!(resumed.counts(), watermark.counts());
    }

    #[test]
    fn a_gap_stays_in_the_checkpoint_until_its_record_is_sent() {
        let mut watermark = Watermark::begin(0, Offset::ZERO);
        let skip = |from, to| [Settled { fate: Settle::Skipped, ..settled(from, to) }];
        watermark.settle(&skip(0, 10));
        let gap = Gap { span: span(0, 10), events: 10, reason: GapReason::Lag };
        assert_eq!(watermark.checkpoint(FAR).expect("a gap is news").gaps, [gap]);
        watermark.settle(&skip(20, 25));
        let grown = Gap { span: span(0, 25), events: 15, ..gap };
        assert_eq!(watermark.checkpoint(FAR).expect("it grew").gaps, [grown]);
        assert_eq!(watermark.take_gap(), Some(grown));
        watermark.settle(&skip(30, 31));
        watermark.settle_for(&skip(40, 42), GapReason::Damage);
        let next = Gap { span: span(30, 31), events: 1, ..gap };
        let torn = Gap { span: span(40, 42), events: 2, reason: GapReason::Damage };
        let gaps = watermark.checkpoint(FAR).expect("others began").gaps;
        assert_eq!(gaps, [grown, next, torn], "what is on its way does not change");
        watermark.close_gap(grown);
        assert_eq!(watermark.checkpoint(FAR).expect("so is its end").gaps, [next, torn]);
        assert_eq!([watermark.take_gap(), watermark.take_gap()], [Some(next), Some(torn)]);
        assert_eq!(watermark.take_gap(), None);
        let skipped: u64 = [grown, next, torn].iter().map(|gap| gap.events).sum();
        assert_eq!(watermark.counts().skipped, skipped, "gaps say all that was skipped");
        assert_eq!(watermark.lost(), [16, 0, 2], "by reason: lag, retention, damage");
    }

    #[test]
    fn a_delivered_letter_moves_once_its_burial_is_saved() {
        let mut watermark = Watermark::begin(0, Offset::ZERO);
        watermark.settle(&[Settled { fate: Settle::DeadLettered, ..settled(0, 6) }]);
        watermark.move_letters(Settle::Delivered, 3, 6);
        watermark.move_letters(Settle::Filtered, 2, 7);
        let of = |counts: Counts| (counts.dead_lettered, counts.delivered, counts.filtered);
        assert_eq!(of(watermark.counts()), (1, 3, 2));
        let early = watermark.checkpoint(Offset::ZERO).expect("it moved");
        assert_eq!((early.counts.total(), early.removals), (0, 0));
        let saved = watermark.checkpoint(FAR).expect("it is durable");
        assert_eq!(of(saved.counts), (1, 3, 2));
        assert_eq!(saved.removals, 7);
    }
}
