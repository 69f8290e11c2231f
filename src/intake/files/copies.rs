//! Copies of followed files that the same pattern matches: rotations by copy and truncate, backups.
//!
//! What a copy holds was read from its original, or will be, as long as that one is not cut; once
//! it is, [`Files::drain_copy`] reads the rest from the copy. Read as files of their own they would
//! repeat everything.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{DoorError, Files, Followed, Identity, Look, SEPARATORS, at_end, note, open_same};
use crate::intake::tail::{Around, Mode, Tail};

/// A copy, as it was when it was compared.
#[derive(Debug)]
pub(super) struct KnownCopy {
    pub(super) path: PathBuf,
    look: Look,
    original: Identity,
}

impl Files {
    /// Whether a file that is not known holds nothing but what a followed one holds, or held until
    /// it was cut. Compared again whenever the file has changed.
    pub(super) fn is_copy(&mut self, path: &Path, identity: Identity, look: Look) -> bool {
        // A single path is no copy of another.
        let is_own = self.pattern.is_none() && path == self.options.path;
        if is_own || self.positions.find(identity.device, identity.inode).is_some() {
            return false;
        }
        let tails = &self.tails;
        // An original that is shorter by now was cut, and what was not read is in the copy alone.
        let is_whole = |known: &KnownCopy| {
            tails.get(&known.original).is_some_and(|Followed { tail, .. }| {
                let metadata = tail.metadata().or_else(|| fs::metadata(&tail.path).ok());
                let bytes = metadata.map_or(0, |metadata| metadata.len());
                bytes.max(tail.position().offset) >= known.look.bytes
            })
        };
        let known = self.copies.get_mut(&identity);
        if let Some(known) = known.filter(|known| known.look == look && is_whole(known)) {
            // Rotations rename their copies.
            path.clone_into(&mut known.path);
            return true;
        }
        let original = self.original(path, identity);
        match (&original, open_same(path, identity)) {
            (Some(original), Some(file)) if self.holds_no_more(*original, &file, look) => {
                let copy = KnownCopy { path: path.to_owned(), look, original: *original };
                self.copies.insert(identity, copy);
                true
            }
            _ => {
                self.copies.remove(&identity);
                false
            }
        }
    }

    /// Whether no name of which this one may be made is one of ours.
    pub(super) fn has_name_of_its_own(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        let mut shorter =
            name.match_indices(SEPARATORS).map(|(at, _)| path.with_file_name(&name[..at]));
        !shorter.any(|path| self.at.contains_key(&path))
    }

    /// The followed file of whose name this one's may be made: `a.log` of `a.log.1`.
    fn original(&self, path: &Path, identity: Identity) -> Option<Identity> {
        let name = path.file_name()?.to_str()?;
        let shorter =
            name.match_indices(SEPARATORS).map(|(at, _)| path.with_file_name(&name[..at]));
        let mut found = shorter.filter_map(|path| self.at.get(&path).copied());
        let is_appended = |original: &Identity| {
            let followed = self.tails.get(original);
            *original != identity && followed.is_some_and(|it| it.tail.mode() == Mode::Append)
        };
        found.find(is_appended)
    }

    /// Whether a file holds nothing that its original does not hold, or did not hold.
    fn holds_no_more(&self, original: Identity, file: &File, look: Look) -> bool {
        let Some(followed) = self.tails.get(&original) else { return false };
        let tail = &followed.tail;
        let source = tail.file().or_else(|| open_same(&tail.path, original));
        source.is_some_and(|source| tail.covers(&source, file, look).unwrap_or(false))
    }

    /// What a followed file held was read to its end: so was what its copies hold.
    pub(super) fn pass_copies(
        &mut self,
        original: Identity,
        around: Around<'_>,
    ) -> Result<(), DoorError> {
        let is_of = |_: &Identity, copy: &mut KnownCopy| copy.original == original;
        let copies: Vec<(Identity, KnownCopy)> = self.copies.extract_if(is_of).collect();
        for (identity, KnownCopy { path, .. }) in copies {
            let Some(file) = open_same(&path, identity) else { continue };
            match at_end(&Tail::new(&path, identity, Mode::Append, 0), &file) {
                Ok(position) => note(&position, around)?,
                Err(error) => self.tell(&path, &error),
            }
        }
        Ok(())
    }
}
