//! The ids seen last, to recognise an event that comes again.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// The last ids and a hash of what came with each. It holds a fixed number of them.
#[derive(Debug)]
pub(super) struct Window {
    contents: HashMap<u64, u64, BuildHasherDefault<AsIs>>,
    /// The ids in the order of their coming.
    order: VecDeque<u64>,
    len_max: usize,
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
    pub(super) fn new(len_max: usize) -> Option<Self> {
        (len_max > 0).then(|| Self {
            contents: HashMap::with_capacity_and_hasher(len_max, BuildHasherDefault::default()),
            order: VecDeque::with_capacity(len_max),
            len_max,
        })
    }

    /// Forgets every id.
    pub(super) fn forget(&mut self) {
        self.contents.clear();
        self.order.clear();
    }

    /// Looks an id up and remembers it, if it is new, with its content: both as hashes.
    pub(super) fn meet(&mut self, id: u64, content: u64) -> Met {
        match self.contents.entry(id) {
            Entry::Occupied(entry) if *entry.get() == content => return Met::Same,
            Entry::Occupied(_) => return Met::Other,
            Entry::Vacant(entry) => _ = entry.insert(content),
        }
        self.order.push_back(id);
        if self.order.len() > self.len_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.contents.remove(&oldest);
        }
        Met::Never
    }
}

/// Takes a key that is a hash already as its hash.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
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
            assert!(window.contents.len() <= 2 && window.order.len() <= 2);
        }
        assert!(Window::new(0).is_none());
    }
}
