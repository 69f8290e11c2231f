//! Cuts a stream of bytes into lines, with bounded memory whatever a line's length.

use sha2::{Digest, Sha256};

use super::batch::{Batch, Rejected};
use super::check::Checker;
use crate::event::{Class, Classes};

/// The state of reading one source.
///
/// Only complete lines are taken: a line without its ending waits, since its producer may still be
/// writing it (`inputs.md` 5.2).
#[derive(Debug)]
pub struct Lines {
    /// Bytes of the source before the next one to take.
    position: u64,
    /// A line that is too long, of which the ending was not seen yet.
    long: Option<Long>,
}

#[derive(Debug)]
struct Long {
    offset: u64,
    length: u64,
    kept: Vec<u8>,
    hash: Sha256,
}

impl Lines {
    /// Starts at this byte of the source, which must begin a line.
    #[must_use]
    pub fn new(position: u64) -> Self {
        Self { position, long: None }
    }

    /// The first byte of the source that was not taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The first byte of the line that comes next: of one that is too long, also when parts of it
    /// were taken.
    #[must_use]
    pub fn line_start(&self) -> u64 {
        self.long.as_ref().map_or(self.position, |long| long.offset)
    }

    /// Takes the complete lines at the start of `chunk`, which begins where the last call ended;
    /// returns how many bytes were taken. The rest shall come again, with more behind it.
    pub fn take(
        &mut self,
        checker: &mut Checker,
        chunk: &[u8],
        received_ns: u64,
        out: &mut Batch,
    ) -> usize {
        let mut at = 0;
        while let Some(found) = memchr::memchr(b'\n', &chunk[at..]) {
            self.line(checker, chunk, at, found, received_ns, out);
            at += found + 1;
            self.position += found as u64 + 1;
        }
        checker.count_events();
        let rest = &chunk[at..];
        if self.long.is_some() || rest.len() > checker.line_bytes_max() + ENDING_MAX {
            self.swallow(rest);
            return chunk.len();
        }
        at
    }

    /// Takes the last line of a source that is known to be complete.
    pub fn finish(
        &mut self,
        checker: &mut Checker,
        rest: &[u8],
        received_ns: u64,
        out: &mut Batch,
    ) {
        if !rest.is_empty() || self.long.is_some() {
            self.line(checker, rest, 0, rest.len(), received_ns, out);
            self.position += rest.len() as u64;
        }
        checker.count_events();
    }

    /// One line of `len` bytes at `start`.
    #[inline]
    fn line(
        &mut self,
        checker: &mut Checker,
        chunk: &[u8],
        start: usize,
        len: usize,
        received_ns: u64,
        out: &mut Batch,
    ) {
        let line = &chunk[start..start + len];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.long.is_some() || line.len() > checker.line_bytes_max() {
            self.swallow_end(checker, line, out);
            return;
        }
        let mut noted = Classes::NONE;
        let mut from = start;
        // A byte order mark is one at the start of the file only.
        if self.position == 0 && line.starts_with(BOM) {
            noted.insert(Class::Bom);
            from += BOM.len();
        }
        let range = from..start + line.len();
        checker.line(chunk, range, self.position, noted, received_ns, out);
    }

    /// Takes a piece of a line that is too long.
    #[cold]
    fn swallow(&mut self, piece: &[u8]) {
        let offset = self.position;
        let long = self.long.get_or_insert_with(|| Long {
            offset,
            length: 0,
            kept: Vec::new(),
            hash: Sha256::new(),
        });
        let room = KEPT_BYTES - long.kept.len();
        long.kept.extend_from_slice(&piece[..room.min(piece.len())]);
        long.length += piece.len() as u64;
        long.hash.update(piece);
        self.position += piece.len() as u64;
    }

    /// Takes the last piece of such a line.
    #[cold]
    fn swallow_end(&mut self, checker: &Checker, piece: &[u8], out: &mut Batch) {
        self.swallow(piece);
        // The caller counts the piece itself, with its ending.
        self.position -= piece.len() as u64;
        let Some(long) = self.long.take() else { return };
        checker.count(Class::Oversize);
        out.rejected.push(Rejected {
            class: Class::Oversize,
            offset: long.offset,
            length: long.length,
            kept: long.kept,
            sha256: Some(long.hash.finalize().into()),
            format: checker.format(),
        });
    }
}

/// U+FEFF in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Bytes of a line's ending, `\r\n`, at most.
const ENDING_MAX: usize = 2;

/// Bytes kept of a line that is too long (`inputs.md`, section 8).
const KEPT_BYTES: usize = 4096;
