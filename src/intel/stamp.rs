//! Times as they are written to the cache's file: seconds and nanoseconds since 1970.

use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

use crate::event::Time;

pub(super) fn serialize<S: Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
    (time.secs, time.nanos).serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
    time(<(i64, u32)>::deserialize(from)?)
}

fn time<E: serde::de::Error>((secs, nanos): (i64, u32)) -> Result<Time, E> {
    match nanos < 1_000_000_000 {
        true => Ok(Time { secs, nanos }),
        false => Err(E::custom("expected nanoseconds below a second")),
    }
}

/// The same where there may be none.
pub(super) mod option {
    use super::{Deserializer, Serializer, Time};
    use serde::{Deserialize as _, Serialize as _};

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Time>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| (time.secs, time.nanos)).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Time>, D::Error> {
        Option::<(i64, u32)>::deserialize(from)?.map(super::time).transpose()
    }
}
