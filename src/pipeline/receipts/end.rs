//! Finds the end of a chain, whatever a crash left behind it.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::{UNSYNCED_BYTES_MAX, parse};
use crate::event::Anchor;

/// Where a file of receipts ends.
pub(super) struct End {
    /// The last receipt; `None` where there is none.
    pub(super) last: Option<Anchor>,
    /// Bytes up to the end of the last whole line, whatever that says.
    pub(super) whole: u64,
}

/// Finds the end of a file: however long what is torn there is, no whole line is taken for it.
///
/// Whole lines that are no receipts are nothing that a crash leaves: they stay, and whoever
/// verifies the chain is told of them.
pub(super) fn end_of(file: &File) -> io::Result<End> {
    let length = file.metadata()?.len();
    // No line has a zero: there is a hole where a power loss took what was written before the
    // lines behind it, and these follow from nothing. Checkpoints know the lines that were synced.
    let from = length.saturating_sub(UNSYNCED_BYTES_MAX);
    let hole = read(file, from, length)?.iter().position(|&byte| byte == 0);
    let whole = line_end(file, hole.map_or(length, |at| from + at as u64))?;
    let last = last_before(file, whole)?.map(|(last, _)| last);
    Ok(End { last, whole })
}

/// What a file says of a line.
pub(super) enum Line {
    /// Its hash.
    Here([u8; 32]),
    /// There are lines around it.
    Missing,
    /// All lines of the file come later, or there are none.
    Before,
}

/// Looks for a line from the end on, where whoever asks expects it.
pub(super) fn line_of(file: &File, line: u64) -> io::Result<Line> {
    let mut end = end_of(file)?.whole;
    while let Some((receipt, begin)) = last_before(file, end)? {
        match receipt.line.cmp(&line) {
            Ordering::Greater => end = begin,
            Ordering::Equal => return Ok(Line::Here(receipt.hash)),
            Ordering::Less => return Ok(Line::Missing),
        }
    }
    Ok(Line::Before)
}

/// The last receipt that ends at or before an offset, and where it begins.
fn last_before(file: &File, mut end: u64) -> io::Result<Option<(Anchor, u64)>> {
    while end > 0 {
        let begin = line_end(file, end - 1)?;
        if end - begin <= LINE_BYTES_MAX
            && let Some((receipt, hash, _)) = parse(&read(file, begin, end - 1)?)
        {
            return Ok(Some((Anchor { line: receipt.n, hash }, begin)));
        }
        end = begin;
    }
    Ok(None)
}

/// Where the last line that ends at or before an offset does; 0 where none does.
fn line_end(file: &File, mut before: u64) -> io::Result<u64> {
    while before > 0 {
        let from = before.saturating_sub(STEP_BYTES);
        let bytes = read(file, from, before)?;
        if let Some(at) = bytes.iter().rposition(|&byte| byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        before = from;
    }
    Ok(0)
}

fn read(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(to - from).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

/// Looked at in one go for the end of a line: most lines are shorter.
const STEP_BYTES: u64 = 8 << 10;
/// Lines are not read beyond this; older versions wrote some of a few megabytes.
const LINE_BYTES_MAX: u64 = 64 << 20;
