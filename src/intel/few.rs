//! Lists of a feed, of which no more is read than is used.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The first `MAX` that differ of a list: an answer may hold millions of a byte or two, and each
/// takes ten times as much here.
pub(super) struct Few<T, const MAX: usize> {
    pub(super) few: Vec<T>,
    /// Whether there were more.
    pub(super) is_cut: bool,
}

impl<T, const MAX: usize> Default for Few<T, MAX> {
    fn default() -> Self {
        Self { few: Vec::new(), is_cut: false }
    }
}

impl<'de, T: Deserialize<'de> + PartialEq, const MAX: usize> Deserialize<'de> for Few<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Each(PhantomData))
    }
}

struct Each<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + PartialEq, const MAX: usize> Visitor<'de> for Each<T, MAX> {
    type Value = Few<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Few<T, MAX>, A::Error> {
        let mut read = Few::default();
        while let Some(one) = from.next_element()? {
            if read.few.contains(&one) {
                continue;
            }
            if read.few.len() == MAX {
                read.is_cut = true;
                while from.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
            read.few.push(one);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(count: usize, distinct: usize) -> Few<String, 4> {
        let texts: Vec<String> = (0..count).map(|n| (n % distinct).to_string()).collect();
        let json = serde_json::to_string(&texts).expect("texts are JSON");
        serde_json::from_str(&json).expect("a list of texts")
    }

    #[test]
    fn no_more_is_kept_than_is_used_however_long_the_list_is() {
        for (count, distinct, kept, is_cut) in
            [(0, 1, 0, false), (4, 4, 4, false), (100_000, 4, 4, false), (100_000, 5, 4, true)]
        {
            let few = read(count, distinct);
            assert_eq!((few.few.len(), few.is_cut), (kept, is_cut), "{count} of {distinct}");
            assert!(few.few.capacity() <= 8, "{}", few.few.capacity());
        }
        assert!(serde_json::from_str::<Few<String, 4>>("[\"a\",1]").is_err());
        assert!(serde_json::from_str::<Few<String, 4>>("\"a\"").is_err());
    }
}
