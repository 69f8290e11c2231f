//! What an exporter has settled, in whatever order it settles.

use std::collections::BTreeMap;

use crate::event::{Checkpoint, Counts, Gap, Offset, Settled, Span, Tally};

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
    /// Settled and durable spans above `base`: disjoint, never adjacent.
    ahead: BTreeMap<Offset, Offset>,
    /// Settled since the last checkpoint, not yet known to be durable.
    recent: Vec<Group>,
    gaps: Vec<Gap>,
    /// Events of all that `base` and `ahead` cover.
    durable: Counts,
    /// Events of everything that settled.
    counts: Counts,
    conflicts: u64,
    ahead_peak: usize,
    moved: bool,
}

/// Adjacent settled spans, counted together.
#[derive(Clone, Copy, Debug)]
struct Group {
    span: Span,
    counts: Counts,
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
            ahead: checkpoint.ahead.iter().map(|span| (span.from, span.to)).collect(),
            recent: Vec::new(),
            gaps: checkpoint.gaps.clone(),
            durable: checkpoint.counts,
            counts: checkpoint.counts,
            conflicts: 0,
            ahead_peak: checkpoint.ahead.len(),
            moved: false,
        }
    }

    /// Takes in what settled; each event is told once.
    pub fn settle(&mut self, settled: &[Settled]) {
        for &Settled { span, events, fate } in settled {
            debug_assert!(span.from < span.to, "an empty span settles nothing: {span:?}");
            self.counts.add(fate, events);
            match self.recent.last_mut() {
                Some(last) if last.span.to == span.from && last.span.bytes() < GROUP_BYTES_MAX => {
                    last.span.to = span.to;
                    last.counts.add(fate, events);
                }
                _ => {
                    let mut counts = Counts::default();
                    counts.add(fate, events);
                    self.recent.push(Group { span, counts });
                }
            }
        }
    }

    /// The checkpoint over everything settled below `durable`; `None` when it has not moved.
    #[must_use]
    pub fn checkpoint(&mut self, durable: Offset) -> Option<Checkpoint> {
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
        std::mem::take(&mut self.moved).then(|| Checkpoint {
            pass: self.pass,
            start: self.start,
            base: self.base,
            tally: self.tally,
            ahead: self.ahead.iter().map(|(&from, &to)| Span { from, to }).collect(),
            gaps: self.gaps.clone(),
            counts: self.durable,
        })
    }

    /// Notes that retention took a piece; its events are settled as skipped besides.
    pub fn open_gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
        self.moved = true;
    }

    /// Notes that the gap's record was delivered.
    pub fn close_gap(&mut self, span: Span) {
        let before = self.gaps.len();
        self.gaps.retain(|gap| gap.span != span);
        self.moved |= self.gaps.len() != before;
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

fn sum(a: Counts, b: Counts) -> Counts {
    Counts {
        delivered: a.delivered + b.delivered,
        dead_lettered: a.dead_lettered + b.dead_lettered,
        filtered: a.filtered + b.filtered,
        skipped: a.skipped + b.skipped,
        invalid: a.invalid + b.invalid,
    }
}

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
        let gap = Gap { span: span(0, 10), events: 2 };
        watermark.open_gap(gap);
        assert_eq!(watermark.checkpoint(FAR).expect("a gap is news").gaps, [gap]);
        watermark.close_gap(gap.span);
        assert_eq!(watermark.checkpoint(FAR).expect("so is its end").gaps, []);
    }
}
