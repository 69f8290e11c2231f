//! Copies of followed files that a rotation compressed in a way that nothing here unpacks: whether
//! something is lost with them is told by their times, which are those of what they hold.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::{Files, Identity, Look, folder};

/// When files were written last that had a path of the input and were read to their end, in seconds
/// since 1970: compressors do not all keep more.
#[derive(Debug, Default)]
pub(super) struct Read(HashMap<PathBuf, VecDeque<i128>>);

impl Read {
    /// Notes a file that had this path.
    pub(super) fn add(&mut self, original: &Path, look: Look) {
        let times = self.0.entry(original.to_owned()).or_default();
        let second = seconds(look);
        if times.contains(&second) {
            return;
        }
        if times.len() >= READ_MAX {
            times.pop_front();
        }
        times.push_back(second);
    }

    fn has(&self, original: &Path, look: Look) -> bool {
        self.0.get(original).is_some_and(|times| times.contains(&seconds(look)))
    }
}

impl Files {
    /// Passes over a copy that nothing here unpacks. What it holds is a gap, unless a file of its
    /// time was read.
    pub(super) fn pass_foreign(
        &mut self,
        (path, original): (&Path, &Path),
        (identity, look): (Identity, Look),
    ) {
        // Whoever compresses a file sets the time of the copy last, and then removes the file.
        if path.with_extension("").exists() {
            return;
        }
        self.pass(&folder(path), identity);
        let followed = self.tails.values().filter(|it| it.tail.path == original);
        let mut times = followed.filter_map(|it| it.tail.looked()).map(seconds);
        if times.any(|second| second == seconds(look)) || self.read.has(original, look) {
            return;
        }
        self.account.gaps += 1;
        warn!(
            input = %original.display(),
            rotated = %path.display(),
            "a rotated file is compressed as nothing here unpacks it; lines of it that were not \
             read before are not read. Have it rotated without compression, or by gzip or zstd"
        );
    }
}

fn seconds(look: Look) -> i128 {
    look.modified_ns.div_euclid(1_000_000_000)
}

/// Files of one path that are remembered; a rotation keeps fewer.
const READ_MAX: usize = 64;
