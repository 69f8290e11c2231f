//! Making segments ahead of time, so that appending never waits for it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::Offset;

use super::engine::{Prepare, Prepared};
use super::error::{LogError, Refusal};
use super::index;
use super::io::LogIo;
use super::shared::{Name, Shared, index_path, segment_path};

/// Whether the next segment is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preparation {
    /// It is there, or was not asked for.
    Resting,
    /// The disk thread makes it.
    Running,
    /// It could not be made; not to be tried before.
    Failed(Instant),
}

impl Preparation {
    pub(crate) fn is_running(self) -> bool {
        self == Self::Running
    }

    /// Whether it may be asked for now.
    pub(crate) fn is_due(self) -> bool {
        match self {
            Self::Resting => true,
            Self::Running => false,
            Self::Failed(at) => at <= Instant::now(),
        }
    }

    /// When to look again after a failure.
    pub(crate) fn retry_at(self) -> Option<Instant> {
        match self {
            Self::Failed(at) => Some(at),
            Self::Resting | Self::Running => None,
        }
    }

    pub(crate) fn on_start(&mut self) {
        *self = Self::Running;
    }

    pub(crate) fn on_done(&mut self) {
        *self = Self::Resting;
    }

    pub(crate) fn on_error(&mut self, now: Instant) {
        *self = Self::Failed(now + RETRY_PAUSE);
    }
}

/// What makes the segment at `base`, on whichever thread.
pub(crate) fn prepare(
    shared: &Arc<Shared>,
    io: &Arc<dyn LogIo>,
    base: Offset,
    bytes: u64,
) -> Prepare {
    let (shared, io) = (Arc::clone(shared), Arc::clone(io));
    Box::new(move || {
        let name = Name { base, bytes };
        reserve(&shared, &*io, Offset::new(base.bytes() + bytes))?;
        create(&shared.dir, &*io, name)
    })
}

/// Makes a segment and its index, and their names, durable.
pub(crate) fn create(
    dir: &std::path::Path,
    io: &dyn LogIo,
    name: Name,
) -> Result<Prepared, Refusal> {
    let path = segment_path(dir, name.base);
    let refused = |action, path: &std::path::Path| {
        let path = path.to_path_buf();
        move |source| Refusal { action, path, source }
    };
    let made = match io.create(&path, name.bytes) {
        // Left by a try that failed later on; nothing of it was ever shown.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            io.unlink(&path).map_err(refused("remove", &path))?;
            io.create(&path, name.bytes)
        }
        made => made,
    };
    let file = made.map_err(refused("create", &path))?;
    io.sync(&file).map_err(refused("sync", &path))?;
    let path = index_path(dir, name.base);
    let index = index::create(&path, io).map_err(refused("create", &path))?;
    io.sync_dir(dir).map_err(refused("sync", dir))?;
    Ok(Prepared { name, file: Arc::new(file), index: Arc::new(index) })
}

/// Promises durably that offsets up to `end` may be shown.
pub(crate) fn reserve(shared: &Shared, io: &dyn LogIo, end: Offset) -> Result<(), Refusal> {
    if end <= shared.control.reserved() {
        return Ok(());
    }
    let reserved = Offset::new(end.bytes() + RESERVED_BYTES);
    shared.control.reserve(reserved, io).map_err(|error| match error {
        LogError::Io { action, path, source } => Refusal { action, path, source },
        other => Refusal {
            action: "write",
            path: shared.control.path().to_path_buf(),
            source: io::Error::other(other),
        },
    })
}

/// How far ahead offsets are promised: after a power loss the log goes on above all of them.
pub(crate) const RESERVED_BYTES: u64 = 1 << 30;

/// How long a full disk is left alone before a segment is asked for again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
