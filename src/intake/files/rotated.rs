//! Files that had one of the input's paths and have another name now: their rest is read first,
//! and those that came and went between two looks are found beside the path.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::copies::KnownCopy;
use super::packed::{Packing, Unpacked};
use super::{
    Around, DoorError, Files, Followed, Identity, LISTINGS_MAX, Look, Mode, Polled, Position,
    Present, SEPARATORS, Tail, changed, find_in, folder, holds, is_compressed, note, open_same,
};
use crate::intake::position::Print;
use crate::intake::tail::print_at;

/// What a folder held that rotations may have put there, when it was looked at last.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The time of the folder's last change, and when that was seen first.
    changed: Option<(i128, Instant)>,
    /// When it is looked at again although nothing changed: something was refused.
    again: Option<Instant>,
    /// Files that were there before this input, or are known not to be read.
    passed: HashSet<Identity>,
    /// All of them.
    listed: HashSet<Identity>,
}

/// A file whose name says that it had one of the input's paths.
struct Candidate {
    path: PathBuf,
    /// The path that it had.
    original: PathBuf,
    identity: Identity,
    look: Look,
    packing: Option<Packing>,
}

impl KnownCopy {
    /// Whether it was there when its folder was looked at last.
    pub(super) fn is_beside(&self, identity: Identity, beside: &BTreeMap<PathBuf, Beside>) -> bool {
        beside.get(&folder(&self.path)).is_some_and(|it| it.listed.contains(&identity))
    }
}

impl Beside {
    /// Whether the folder may hold something else than at the last look: it was changed since, or
    /// so shortly before that another change may have the same time.
    fn may_differ(&mut self, dir: &Path, now: Instant) -> bool {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let Ok(metadata) = fs::metadata(dir) else { return false };
        let modified_ns = Look::of(&metadata).modified_ns;
        let is_due = self.again.take_if(|again| *again <= now).is_some();
        match self.changed {
            Some((known, since)) if known == modified_ns => {
                is_due || now.saturating_duration_since(since) < CHANGE_SPAN
            }
            _ => {
                self.changed = Some((modified_ns, now));
                true
            }
        }
    }
}

impl Candidate {
    /// The file, one at a time: there may be more of them than descriptors. None where the name
    /// means another one by now.
    fn open(&self) -> io::Result<Option<File>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_same = Identity::of(&file.metadata()?) == self.identity;
        Ok(is_same.then_some(file))
    }
}

impl Files {
    /// Files that were rotated while nobody looked: their rest is read first. What came after them
    /// under the same path, and was rotated as well, is found when its folder is looked at.
    pub(super) fn find_missed(
        &mut self,
        present: &Present<'_>,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        let positions = self.positions.of(|source| self.is_ours(Path::new(source)));
        let followed = |it: &Position| self.tails.contains_key(&Identity::of_position(it));
        let missed = positions.iter().filter(|position| !followed(position));
        let places = find_all(missed.map(|it| (Path::new(&it.source), Identity::of_position(it))));
        self.missed_at = None;
        for position in positions {
            if around.is_stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            let identity = Identity::of_position(&position);
            if identity == (Identity { device: 0, inode: 0 }) {
                // The input itself, whose name may match its own pattern.
                continue;
            }
            let source = PathBuf::from(&position.source);
            let is_another = present.get(&identity).map(|path| self.is_another(path, &position));
            if is_another == Some(Some(false)) || self.tails.contains_key(&identity) {
                continue;
            }
            if is_another == Some(None) {
                // It has no line yet: it may be waited for, or what had its number was rotated.
                match self.copy_of(&position) {
                    Ok(Some(copy)) => {
                        let since = self.read_copy(copy, &position, around, now)?;
                        self.since.insert(source, since);
                        // Its lines, when they come, are those of another file.
                        note(&Position { finished: true, ..position }, around)?;
                    }
                    Ok(None) => {}
                    Err(error) => self.miss(&source, &error, now),
                }
                continue;
            }
            let moved = find_at(places.get(&identity), identity, &source);
            let is_packed = moved.as_ref().is_some_and(|(path, _)| Packing::of(path).is_some());
            if position.ended && is_packed {
                // A compressed copy never grows; it is known as long as it is there.
                continue;
            }
            let since = match moved.filter(|(_, file)| holds(file, &position).unwrap_or(false)) {
                Some((_, file)) => {
                    let since = file.metadata().map_or(0, |it| Look::of(&it).modified_ns);
                    self.read_rest(file, identity, &position, around, now)?;
                    Some(since)
                }
                None => {
                    // One that was read to its end is removed at last; nothing of it is lost.
                    let copied = match position.ended {
                        true => None,
                        false => match self.drain_copy(&position, around, now)? {
                            Drained::Copy(since) => Some(since),
                            Drained::Nothing => None,
                            Drained::Refused(error) => {
                                self.miss(&source, &error, now);
                                continue;
                            }
                        },
                    };
                    // Else the same would be told again after a process that was killed.
                    if !self.tails.contains_key(&identity) {
                        note(&Position { finished: true, ..position }, around)?;
                    }
                    // Of those that came after one that is gone, nobody knows but when it was read.
                    copied.or_else(|| self.positions.saved_ns().map(|at| at - SAVED_SPAN_NS))
                }
            };
            if let Some(since) = since {
                self.beside.entry(folder(&source)).or_default();
                let newest = self.since.entry(source).or_insert(since);
                *newest = since.max(*newest);
            }
        }
        Ok(())
    }

    /// Whether a file that is added to is another one than that of a position, whose number it has,
    /// or was cut off; none while it is empty.
    fn is_another(&self, path: &Path, position: &Position) -> Option<bool> {
        let file = File::open(path).ok()?;
        let is_appended = self.mode_of(&file).ok()?? == Mode::Append;
        Some(is_appended && !holds(&file, position).ok()?)
    }

    /// Files that had one of the input's paths for a while, and were rotated before anybody looked
    /// there. What lies beside a path when it is looked at first was there before the input, unless
    /// it was written after what an earlier process read.
    pub(super) fn find_skipped(
        &mut self,
        present: &Present<'_>,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        let dirs: Vec<PathBuf> = self.beside.keys().cloned().collect();
        for dir in &dirs {
            let Some(it) = self.beside.get_mut(dir) else { continue };
            let is_first = it.changed.is_none();
            if !it.may_differ(dir, now) {
                continue;
            }
            let (mut candidates, listed) = match self.candidates(dir, present) {
                Ok(found) => found,
                Err(error) => {
                    // What it held is known as long as nobody knows what it holds.
                    self.look_again(dir, now);
                    if let Some(it) = self.beside.get_mut(dir).filter(|_| is_first) {
                        it.changed = None;
                    }
                    self.tell(dir, &error);
                    continue;
                }
            };
            for plain in candidates.iter().filter(|candidate| candidate.packing.is_none()) {
                self.read.add(&plain.original, plain.look);
            }
            // Looked at once: what came between two looks would be passed over.
            let is_old = |candidate: &&Candidate| {
                let since = self.since_of(&candidate.original);
                is_first && since.is_none_or(|since| candidate.look.modified_ns < since)
            };
            let old = candidates.iter().filter(is_old).map(|candidate| candidate.identity);
            let old: Vec<Identity> = old.collect();
            let Some(it) = self.beside.get_mut(dir) else { continue };
            it.passed.retain(|identity| listed.contains(identity));
            it.listed = listed;
            it.passed.extend(old);
            candidates.retain(|candidate| !it.passed.contains(&candidate.identity));
            self.take_skipped(candidates, around, now)?;
        }
        Ok(())
    }

    /// Never reads this file, which is in that folder.
    pub(super) fn pass(&mut self, dir: &Path, identity: Identity) {
        if let Some(it) = self.beside.get_mut(dir) {
            it.passed.insert(identity);
        }
    }

    fn is_passed(&self, dir: &Path, identity: Identity) -> bool {
        self.beside.get(dir).is_some_and(|it| it.passed.contains(&identity))
    }

    /// Looks at a folder again in a while, whether it changes or not.
    fn look_again(&mut self, dir: &Path, now: Instant) {
        if let Some(it) = self.beside.get_mut(dir) {
            it.again = Some(now + AGAIN_INTERVAL);
        }
    }

    /// Tells what keeps a file's rest from being found, which is looked for again in a while.
    fn miss(&mut self, path: &Path, error: &io::Error, now: Instant) {
        self.missed_at = Some(now + AGAIN_INTERVAL);
        self.tell(path, error);
    }

    /// Since when files that had this path were not read, nanoseconds since 1970; none where all
    /// that lies beside it was there before the input.
    fn since_of(&self, original: &Path) -> Option<i128> {
        if let Some(since) = self.since.get(original) {
            return Some(*since);
        }
        // Nothing had this path when an earlier process looked last.
        let known = self.positions.of(|source| Path::new(source) == original);
        // The input itself has a position without a file.
        let is_unknown = known.iter().all(|position| position.inode == 0);
        let saved = self.positions.saved_ns().filter(|_| self.has_begun && is_unknown);
        saved.map(|at| at - SAVED_SPAN_NS)
    }

    /// Reads those of these files that are new, the oldest first.
    fn take_skipped(
        &mut self,
        mut candidates: Vec<Candidate>,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        candidates
            .sort_by(|a, b| (a.look.modified_ns, &a.path).cmp(&(b.look.modified_ns, &b.path)));
        for candidate in candidates {
            // What a cut took from the file that has the path now comes first.
            if let Some(&identity) = self.at.get(&candidate.original)
                && self.tails.get(&identity).is_some_and(|it| it.tail.is_replaced())
            {
                self.replaced(identity, around, now)?;
            }
            let dir = folder(&candidate.path);
            // Also one of which that cut told that it holds nothing new.
            let is_known = self.tails.contains_key(&candidate.identity)
                || self.is_passed(&dir, candidate.identity);
            if is_known {
                continue;
            }
            let file = match candidate.open() {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(error) => {
                    self.look_again(&dir, now);
                    self.tell(&candidate.path, &error);
                    continue;
                }
            };
            let Some((candidate, file)) = self.unpacked(candidate, file, now) else { continue };
            if let Some(position) = self.unread_of(&candidate, &file) {
                self.read_rest(file, candidate.identity, &position, around, now)?;
                continue;
            }
            if !self.is_new(&candidate, &file) {
                continue;
            }
            let Candidate { path, original, identity, .. } = candidate;
            info!(input = %original.display(), rotated = %path.display(), "found a rotated file");
            let mut tail =
                Tail::new(&original, identity, Mode::Append, 0).with_format(self.options.format);
            tail.attach(file);
            self.follow(
                identity,
                Followed { tail, is_rotated: true, active: now, not_before: None },
            );
            self.drain(identity, around, now)?;
        }
        Ok(())
    }

    /// The same file, readable: a compressed one that holds nothing known is unpacked. None where
    /// there is nothing to read, or it is still being compressed, or nobody can unpack it now.
    fn unpacked(
        &mut self,
        candidate: Candidate,
        file: File,
        now: Instant,
    ) -> Option<(Candidate, File)> {
        let Some(packing) = candidate.packing else { return Some((candidate, file)) };
        let Candidate { path, original, identity, mut look, .. } = candidate;
        let dir = folder(&path);
        if packing == Packing::Other {
            self.pass_foreign((&path, &original), (identity, look));
            return None;
        }
        let is_known = self
            .firsts(&original, identity)
            .into_iter()
            .try_fold(false, |is, first| Ok::<_, io::Error>(is || packing.begins(&file, first)?));
        let unpacked = match is_known {
            // What it was made from is read, or was: by its first line it is no other.
            Ok(true) => {
                self.pass(&dir, identity);
                return None;
            }
            Ok(false) => packing.unpack(&file, self.positions.dir()),
            Err(error) => Err(error),
        };
        match unpacked.and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((bytes, file)) => {
                self.pass(&dir, identity);
                look.bytes = bytes;
                Some((Candidate { path, original, identity, look, packing: None }, file))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.pass(&dir, identity);
                self.account.gaps += 1;
                let (input, rotated) = (original.display(), path.display());
                warn!(%input, %rotated, %error, "a rotated file is damaged; it is not read");
                None
            }
            Err(error) => {
                self.look_again(&dir, now);
                self.tell(&path, &error);
                None
            }
        }
    }

    /// The first lines of all that had this path and is known; not of this file itself while it is
    /// not read to its end.
    fn firsts(&self, original: &Path, itself: Identity) -> Vec<Print> {
        let known = self.positions.of(|source| Path::new(source) == original).into_iter();
        let is_other =
            |it: &Position| it.ended || (Identity { device: it.device, inode: it.inode }) != itself;
        let followed = self.tails.values().filter(|it| it.tail.path == original);
        let followed = followed.filter_map(|it| it.tail.position().first);
        known.filter(is_other).filter_map(|it| it.first).chain(followed).collect()
    }

    /// The position in a file that an earlier process began to read and that holds more.
    fn unread_of(&self, candidate: &Candidate, file: &File) -> Option<Position> {
        let Candidate { identity, look, .. } = candidate;
        let position = self.positions.find(identity.device, identity.inode)?;
        let has_more = position.offset < look.bytes && holds(file, &position).unwrap_or(false);
        has_more.then_some(position)
    }

    /// Whether a file is none that was read, nor a copy of one, and is added to line by line.
    fn is_new(&mut self, candidate: &Candidate, file: &File) -> bool {
        let Candidate { path, original, identity, look, .. } = candidate;
        let holds = |position: &Position| holds(file, position).unwrap_or(false);
        // Another file may have the number of one that is gone.
        if self.positions.find(identity.device, identity.inode).is_some_and(|it| holds(&it)) {
            return false;
        }
        // A copy that holds where reading stands: its rest is read from there.
        let known = self.positions.of(|source| Path::new(source) == original);
        if known.iter().any(|position| position.last.is_some() && holds(position)) {
            return false;
        }
        if self.is_copy(path, *identity, *look) {
            return false;
        }
        let mode = file.try_clone().and_then(|file| self.mode_of(&file));
        matches!(mode, Ok(None | Some(Mode::Append)))
    }

    /// What a folder holds that had one of our paths by its name and is not followed, and all of
    /// its files with such names.
    ///
    /// A listing of a folder whose names change all the time may hold what came during it, and not
    /// what came before that: such files are left for the next look, since a process that is killed
    /// meanwhile would take the older ones for read (see [`Self::find_missed`]).
    fn candidates(&self, dir: &Path, present: &Present<'_>) -> io::Result<Beheld> {
        let readable = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let mut listings = 0;
        loop {
            let before = changed(readable);
            let (mut found, listed) = self.listed(dir, present)?;
            listings += 1;
            if changed(readable) == before {
                return Ok((found, listed));
            }
            if listings >= LISTINGS_MAX {
                found.retain(|candidate| before.is_some_and(|at| candidate.look.modified_ns < at));
                return Ok((found, listed));
            }
        }
    }

    fn listed(&self, dir: &Path, present: &Present<'_>) -> io::Result<Beheld> {
        let (mut found, mut listed) = (Vec::new(), HashSet::new());
        let readable = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let (own, entries) = match fs::metadata(readable)
            .and_then(|own| Ok((own, fs::read_dir(readable)?)))
        {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((found, listed)),
            Err(error) => return Err(error),
        };
        for entry in entries.take(super::FILES_MAX) {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            let Some(original) = self.path_before(&path) else { continue };
            // What was at a path of ours and is here now has moved since.
            let is_followed = |it: &Identity| {
                present.get(it).is_some_and(|at| *at == path) || self.tails.contains_key(it)
            };
            let probably = Identity { device: own.dev(), inode: entry.ino() };
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            let metadata = (is_file && !is_followed(&probably))
                .then(|| fs::symlink_metadata(&path).ok())
                .flatten();
            // Its name may have moved on.
            let identity = metadata.as_ref().map_or(probably, Identity::of);
            listed.insert(identity);
            if let Some(metadata) = metadata.filter(|it| it.is_file() && !is_followed(&identity)) {
                let (look, packing) = (Look::of(&metadata), Packing::of(&path));
                found.push(Candidate { path, original, identity, look, packing });
            }
        }
        Ok((found, listed))
    }

    /// The path of ours that a file had by its name: `a.log` of `a.log.1` and `a.log-20260206`.
    fn path_before(&self, path: &Path) -> Option<PathBuf> {
        let mut name = path.file_name()?.to_str()?;
        if is_compressed(path) {
            name = path.file_stem()?.to_str()?;
        }
        let cuts = name.match_indices(SEPARATORS).filter(|(at, _)| is_rotation(&name[at + 1..]));
        let mut shorter = cuts.map(|(at, _)| path.with_file_name(&name[..at]));
        shorter.find(|path| self.is_ours(path))
    }

    /// Whether a path is one that the input reads.
    pub(super) fn is_ours(&self, path: &Path) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.matches_path(path),
            None => *path == self.options.path,
        }
    }

    /// Reads the rest of a file that lies elsewhere now.
    fn read_rest(
        &mut self,
        file: File,
        identity: Identity,
        position: &Position,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        let mut tail = Tail::new(Path::new(&position.source), identity, Mode::Append, 0)
            .with_format(self.options.format);
        if !tail.resume(file, position).unwrap_or(false) {
            return Ok(());
        }
        // Even if there is nothing more to read: a pattern may meet it again after a restart.
        note(&tail.position(), around)?;
        self.follow(identity, Followed { tail, is_rotated: true, active: now, not_before: None });
        self.drain(identity, around, now)
    }

    /// The copy that a rotation made of a file and that holds the place up to which it was read.
    ///
    /// # Errors
    /// When there may be one that nobody can read now.
    fn copy_of(&mut self, position: &Position) -> io::Result<Option<Unpacked>> {
        // Without prints anything would pass for a copy.
        if position.last.is_none() {
            return Ok(None);
        }
        let path = Path::new(&position.source);
        let dir = folder(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = Identity { device: position.device, inode: position.inode };
        let mut copies: Vec<(u64, PathBuf)> = Vec::new();
        find_in(&dir, |path, metadata| {
            let is_copy = is_rotated_name(&name, path)
                && metadata.len() >= position.offset
                && Identity::of(metadata) != own
                && File::open(path).and_then(|file| holds(&file, position)).unwrap_or(false);
            if is_copy {
                copies.push((metadata.len(), path.to_owned()));
            }
            false
        });
        // An older one, a backup, has less of it.
        let copy = copies.into_iter().max().map(|(_, path)| path);
        let plain = copy.and_then(|path| {
            let file = File::open(&path).ok()?;
            let metadata = file.metadata().ok()?;
            let modified_ns = Look::of(&metadata).modified_ns;
            Some(Unpacked { path, identity: Identity::of(&metadata), modified_ns, file })
        });
        plain.map_or_else(|| self.packed_copy(&dir, position), |plain| Ok(Some(plain)))
    }

    /// Reads the rest of a file from a copy of it. Tells when that copy was written last.
    fn read_copy(
        &mut self,
        copy: Unpacked,
        position: &Position,
        around: Around<'_>,
        now: Instant,
    ) -> Result<i128, DoorError> {
        let Unpacked { path, identity, modified_ns, file } = copy;
        if !self.tails.contains_key(&identity) {
            self.copies.remove(&identity);
            info!(input = position.source, copy = %path.display(), "the rest is in a copy");
            self.read_rest(file, identity, position, around, now)?;
        }
        Ok(modified_ns)
    }

    /// Reads the rest of a file from a copy of it that a rotation made, and forgets the file.
    pub(super) fn drain_copy(
        &mut self,
        position: &Position,
        around: Around<'_>,
        now: Instant,
    ) -> Result<Drained, DoorError> {
        match self.copy_of(position) {
            Ok(Some(copy)) => self.read_copy(copy, position, around, now).map(Drained::Copy),
            Ok(None) => {
                if position.offset > 0 {
                    self.account.gaps += 1;
                    self.cuts.add(Path::new(&position.source), position.offset);
                    self.pass_alike(position);
                }
                Ok(Drained::Nothing)
            }
            Err(error) => Ok(Drained::Refused(error)),
        }
    }

    /// Passes over what begins like a file that was cut off: a copy that was made before its last
    /// lines were written holds nothing that is new.
    fn pass_alike(&mut self, position: &Position) {
        let Some(first) = position.first else { return };
        let path = Path::new(&position.source);
        let dir = folder(path);
        let Ok((candidates, _)) = self.candidates(&dir, &Present::new()) else { return };
        for it in candidates.iter().filter(|it| it.original == path) {
            let Ok(Some(file)) = it.open() else { continue };
            let begins = match it.packing {
                Some(packing) => packing.begins(&file, first),
                None => print_at(&file, first, first.bytes),
            };
            if begins.unwrap_or(false) {
                self.pass(&dir, it.identity);
            }
        }
    }

    /// Drains files whose path means another one now, before that one is read.
    pub(super) fn mark_rotated(
        &mut self,
        present: &Present<'_>,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        let gone: Vec<Identity> = self
            .tails
            .iter()
            .filter(|(identity, followed)| !followed.is_rotated && !present.contains_key(identity))
            .map(|(identity, _)| *identity)
            .collect();
        let closed = gone.iter().filter_map(|identity| {
            let tail = &self.tails.get(identity)?.tail;
            (!tail.is_open()).then_some((tail.path.as_path(), *identity))
        });
        let places = find_all(closed);
        for identity in gone {
            if around.is_stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            let Some(followed) = self.tails.get_mut(&identity) else { continue };
            followed.is_rotated = true;
            followed.active = now;
            if !followed.tail.is_open() {
                let moved = find_at(places.get(&identity), identity, &followed.tail.path);
                if let Some((_, file)) = moved {
                    followed.tail.attach(file);
                }
            }
            self.drain(identity, around, now)?;
        }
        // A file that came back under its name is none that was rotated.
        for (_, followed) in self.tails.iter_mut().filter(|(it, _)| present.contains_key(it)) {
            followed.is_rotated = false;
        }
        Ok(())
    }

    /// Ends files that were rotated and grow no more.
    pub(super) fn end_rotated(
        &mut self,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        let mut ended = HashSet::new();
        let done = self.end_silent(&mut ended, around, now);
        if !ended.is_empty() {
            self.at.retain(|_, identity| !ended.contains(identity));
        }
        done
    }

    fn end_silent(
        &mut self,
        ended: &mut HashSet<Identity>,
        around: Around<'_>,
        now: Instant,
    ) -> Result<(), DoorError> {
        let rotated = |identity: &Identity| {
            let followed = self.tails.get(identity).filter(|followed| followed.is_rotated)?;
            Some((followed.active, *identity))
        };
        let mut rotated: Vec<(Instant, Identity)> = self.busy.iter().filter_map(rotated).collect();
        // Where there are too many, those end that were silent for longest.
        rotated.sort_unstable();
        let excess = rotated.len().saturating_sub(ROTATED_MAX);
        for (n, (_, identity)) in rotated.into_iter().enumerate() {
            let Some(followed) = self.tails.get_mut(&identity) else { continue };
            let idle = now.saturating_duration_since(followed.active);
            // Its writer may hold it open and go on for as long as it runs.
            let patience = if followed.tail.is_unlinked() { UNLINKED_IDLE } else { ROTATED_IDLE };
            if idle < patience && n >= excess {
                continue;
            }
            let path = followed.tail.path.clone();
            let finished = followed.tail.finish(around);
            if let Some(look) = followed.tail.looked() {
                self.read.add(&path, look);
            }
            self.account = self.account.plus(followed.tail.take_account());
            let (position, failed) = match finished {
                Ok(Polled::Stopped) => return Ok(()),
                Ok(Polled::Read(position)) => (position, None),
                Ok(Polled::Idle | Polled::Unsettled | Polled::Replaced) => {
                    (followed.tail.position(), None)
                }
                // One file that cannot be read is not the end of the others.
                Err(DoorError::Read { error, .. }) => (followed.tail.position(), Some(error)),
                Err(error) => return Err(error),
            };
            info!(input = %path.display(), offset = position.offset, "a rotated file is ended");
            self.positions.set(position);
            self.tails.remove(&identity);
            ended.insert(identity);
            self.pass_copies(identity, around)?;
            if let Some(error) = failed {
                self.tell(&path, &error);
            }
        }
        Ok(())
    }
}

/// What a folder held of names that rotations give: the files that are not followed, and all.
type Beheld = (Vec<Candidate>, HashSet<Identity>);

/// What became of the rest of a file that was cut off.
pub(super) enum Drained {
    /// A copy, which was written last then, held it.
    Copy(i128),
    /// Nothing holds it.
    Nothing,
    /// Nobody can tell now.
    Refused(io::Error),
}

/// Where these files, which had these paths, lie in the folders of those: each folder is listed
/// once, whatever its files are.
fn find_all<'a>(files: impl Iterator<Item = (&'a Path, Identity)>) -> HashMap<Identity, PathBuf> {
    let mut wanted: HashMap<PathBuf, HashSet<Identity>> = HashMap::new();
    for (path, identity) in files {
        wanted.entry(folder(path)).or_default().insert(identity);
    }
    let mut places = HashMap::new();
    for (dir, wanted) in wanted {
        let mut left = wanted.len();
        find_in(&dir, |path, metadata| {
            let identity = Identity::of(metadata);
            let is_new =
                wanted.contains(&identity) && places.insert(identity, path.to_owned()).is_none();
            left -= usize::from(is_new);
            left == 0
        });
    }
    places
}

/// The file that was found at a place, or at another one of its folder by now.
fn find_at(place: Option<&PathBuf>, identity: Identity, path: &Path) -> Option<(PathBuf, File)> {
    let place = place?;
    let there = open_same(place, identity).map(|file| (place.clone(), file));
    there.or_else(|| find_in(&folder(path), |_, it| Identity::of(it) == identity))
}

/// Whether a rotation may have given a file of this name that path: `name.1`, `name-20260206`.
fn is_rotated_name(name: &str, path: &Path) -> bool {
    let Some(other) = path.file_name().map(|other| other.to_string_lossy()) else { return false };
    let rest = other.strip_prefix(name);
    rest.is_some_and(|rest| rest.starts_with(SEPARATORS)) && !is_compressed(path)
}

/// Whether a rotation puts this behind a name: a number, a time, or what says that it is old.
fn is_rotation(end: &str) -> bool {
    end.starts_with(|first: char| first.is_ascii_digit()) || matches!(end, "old" | "prev")
}

/// How long after a folder was changed it may change again without showing another time: some file
/// systems count whole seconds.
const CHANGE_SPAN: Duration = Duration::from_millis(1500);
/// Positions are saved every few seconds, so that a file may have been read a little before.
const SAVED_SPAN_NS: i128 = 10_000_000_000;
/// When what the system refused is tried again.
pub(super) const AGAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Rotated files whose writers may still go on.
const ROTATED_MAX: usize = 64;
/// How long a rotated file is waited for: a daemon that holds it may write seldom.
const ROTATED_IDLE: Duration = Duration::from_secs(3600);
/// How long one without a name is waited for.
const UNLINKED_IDLE: Duration = Duration::from_secs(10);
