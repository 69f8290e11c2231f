//! The ids seen last, to recognise an event that comes again.

/// The last ids and a hash of what came with each. It holds a fixed number of them.
///
/// A table with open addressing, half full at most: an id costs about one line of memory to look up
/// and remember, and one to forget.
#[derive(Debug)]
pub(super) struct Window {
    /// Ids with their contents; id 0 is free.
    slots: Box<[(u64, u64)]>,
    /// The ids in the order of their coming, around and around.
    order: Box<[u64]>,
    /// Where the oldest id lies in `order`, once it is full.
    oldest: usize,
}

/// How an id was met before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// Not within the window.
    Never,
    /// With the same content.
    Same,
    /// With another content.
    Other,
}

impl Window {
    /// A window of this many ids; `None` for 0, which means that nothing is recognised.
    pub(super) fn new(len: usize) -> Option<Self> {
        (len > 0).then(|| Self {
            // One more than the window holds is in the table while the oldest is taken out, and a
            // search ends at a free slot.
            slots: vec![(0, 0); (2 * len).max(4).next_power_of_two()].into_boxed_slice(),
            order: vec![0; len].into_boxed_slice(),
            oldest: 0,
        })
    }

    /// A window of another length that holds the last ids of this one, as many as fit.
    pub(super) fn resized(&self, len: usize) -> Option<Self> {
        let mut other = Self::new(len)?;
        let (newer, older) = self.order.split_at(self.oldest);
        // 0 marks places that no id has come to yet.
        for &id in older.iter().chain(newer).filter(|&&id| id != 0) {
            let mut at = self.home(id);
            while self.slots[at].0 != id {
                at = self.after(at);
            }
            other.meet(id, self.slots[at].1);
        }
        Some(other)
    }

    /// Forgets every id.
    pub(super) fn forget(&mut self) {
        self.slots.fill((0, 0));
        self.order.fill(0);
        self.oldest = 0;
    }

    /// Fetches what [`Self::meet`] will look at: the table is larger than a core's cache, and the
    /// content's hash is computed while memory answers.
    #[inline]
    pub(super) fn expect(&self, id: u64) {
        let at = self.home(id.max(1));
        std::hint::black_box(self.slots[at].0);
        std::hint::black_box(self.slots[self.home(self.order[self.oldest])].0);
    }

    /// Looks an id up and remembers it, if it is new, with its content: both as hashes.
    #[inline]
    pub(super) fn meet(&mut self, id: u64, content: u64) -> Met {
        // 0 marks what is free; it shares its place with 1.
        let id = id.max(1);
        let mut at = self.home(id);
        while self.slots[at].0 != 0 {
            if self.slots[at].0 == id {
                return if self.slots[at].1 == content { Met::Same } else { Met::Other };
            }
            at = self.after(at);
        }
        self.slots[at] = (id, content);
        let forgotten = std::mem::replace(&mut self.order[self.oldest], id);
        self.oldest = if self.oldest + 1 == self.order.len() { 0 } else { self.oldest + 1 };
        if forgotten != 0 {
            self.remove(forgotten);
        }
        Met::Never
    }

    /// Frees the slot of an id, and moves up those behind it that it kept from their place.
    fn remove(&mut self, id: u64) {
        let mut free = self.home(id);
        while self.slots[free].0 != id {
            free = self.after(free);
        }
        let mut at = free;
        loop {
            at = self.after(at);
            let moving = self.slots[at].0;
            if moving == 0 {
                break;
            }
            let mask = self.slots.len() - 1;
            let from_home = at.wrapping_sub(self.home(moving)) & mask;
            let from_free = at.wrapping_sub(free) & mask;
            if from_home >= from_free {
                self.slots[free] = self.slots[at];
                free = at;
            }
        }
        self.slots[free] = (0, 0);
    }

    /// Where an id belongs: it is a hash already.
    #[inline]
    fn home(&self, id: u64) -> usize {
        id as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_met_again_until_it_leaves_the_window() {
        let mut window = Window::new(2).expect("two ids");
        for (id, content, expected) in [
            (1, 10, Met::Never),
            (1, 10, Met::Same),
            (1, 11, Met::Other),
            (2, 10, Met::Never),
            (1, 10, Met::Same),
            (3, 10, Met::Never),
            (1, 10, Met::Never),
            (2, 10, Met::Never),
            (1, 10, Met::Same),
        ] {
            assert_eq!(window.meet(id, content), expected, "{id} {content}");
        }
        assert!(Window::new(0).is_none());
    }

    #[test]
    fn another_length_keeps_the_last_ids_that_fit() {
        let mut window = Window::new(4).expect("four ids");
        (1..=6).for_each(|id| assert_eq!(window.meet(id, id * 10), Met::Never));
        for (len, known) in [(2, 5..=6), (4, 3..=6), (100, 3..=6)] {
            let mut resized = window.resized(len).expect("some ids");
            let met = |id: &u64| resized.meet(*id, id * 10) == Met::Same;
            // From the newest on: what is new takes the place of the oldest.
            let same: Vec<u64> = (1..=6).rev().filter(met).collect();
            assert_eq!(same, known.rev().collect::<Vec<u64>>(), "{len}");
        }
        assert!(window.resized(0).is_none());
    }

    #[test]
    fn it_knows_exactly_the_last_ids() {
        use std::collections::VecDeque;
        for len in [1, 2, 3, 8, 100] {
            let mut window = Window::new(len).expect("some ids");
            let mut last = VecDeque::new();
            let mut state = 88_172_645_463_325_252_u64;
            for _ in 0..20_000 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Few homes and many ids, so that they are in each other's way.
                let id = 1 + state % (3 * len as u64) * 8 + (state >> 40) % 2 * 256;
                let expected = if last.contains(&id) { Met::Same } else { Met::Never };
                assert_eq!(window.meet(id, !id), expected, "{id} of {len}");
                if expected == Met::Never {
                    last.push_back(id);
                    if last.len() > len {
                        last.pop_front();
                    }
                }
                let held = window.slots.iter().filter(|slot| slot.0 != 0).count();
                assert_eq!(held, last.len());
            }
        }
    }
}
