//! Files that were cut off before their rest was read, told together: a storm of rotations is one
//! line in the log and not one for each file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::warn;

/// What was cut off and is not told yet.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    files: u64,
    /// The last of them, and how far it was read.
    last: Option<(PathBuf, u64)>,
    /// When some were told last.
    told: Option<Instant>,
}

impl Cuts {
    /// Notes a file that was read up to an offset.
    pub(super) fn add(&mut self, path: &Path, offset: u64) {
        self.files += 1;
        self.last = Some((path.to_owned(), offset));
    }

    /// Tells what there is, unless others were told a moment ago.
    pub(super) fn tell(&mut self, now: Instant) {
        if let Some((files, path, offset)) = self.take(now) {
            warn!(
                input = %path.display(),
                offset,
                files,
                "files were cut off and no copy holds the place up to which they were read: what \
                 was written behind it, if anything, is lost; this is the last of so many"
            );
        }
    }

    /// How many files there are, and the last one, where it is time to tell them.
    fn take(&mut self, now: Instant) -> Option<(u64, PathBuf, u64)> {
        let was_now = self.told.is_some_and(|told| now.duration_since(told) < INTERVAL);
        let (path, offset) = self.last.take_if(|_| !was_now)?;
        self.told = Some(now);
        Some((std::mem::take(&mut self.files), path, offset))
    }
}

impl Drop for Cuts {
    /// The last ones are told whenever reading ends.
    fn drop(&mut self) {
        self.told = None;
        self.tell(Instant::now());
    }
}

/// The time from one telling to the next.
const INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_told_at_once_and_others_together_later() {
        let (mut cuts, start) = (Cuts::default(), Instant::now());
        assert_eq!(cuts.take(start), None);
        cuts.add(Path::new("a"), 1);
        cuts.add(Path::new("b"), 2);
        assert_eq!(cuts.take(start), Some((2, PathBuf::from("b"), 2)));
        for second in 0..60 {
            cuts.add(Path::new("c"), second);
            assert_eq!(cuts.take(start + Duration::from_secs(second)), None);
        }
        let later = start + INTERVAL;
        assert_eq!(cuts.take(later), Some((60, PathBuf::from("c"), 59)));
        assert_eq!(cuts.take(later + INTERVAL), None);
    }
}
