//! The documents of a request, for answers that name some of them.

use aho_corasick::{AhoCorasick, MatchKind};

use super::Batch;

/// What a request carried, event by event.
#[derive(Clone, Copy, Debug)]
pub struct Documents<'a>(Option<&'a Batch>);

impl<'a> Documents<'a> {
    /// A request without events.
    pub const NONE: Self = Self(None);

    /// Those of a batch.
    #[must_use]
    pub fn of(batch: &'a Batch) -> Self {
        Self(Some(batch))
    }

    /// Which documents hold one of these texts, by position in the request; `None` where a text
    /// stands in no document, or in several.
    #[must_use]
    pub fn find(&self, texts: &[&str]) -> Option<Vec<usize>> {
        let batch = self.0?;
        let body = batch.plain()?;
        // One look at the body for all of them; of two texts the longer one is meant.
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts);
        let mut found: Vec<Option<usize>> = vec![None; texts.len()];
        for hit in search.ok()?.find_iter(&body) {
            let ends = |item: &super::Item| item.end as usize <= hit.start();
            let document = batch.items().partition_point(ends);
            let place = &mut found[hit.pattern().as_usize()];
            if place.is_some_and(|before| before != document) {
                return None;
            }
            *place = Some(document);
        }
        found.into_iter().collect()
    }
}
