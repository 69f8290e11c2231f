//! Damage on disk, as the process meets it.
