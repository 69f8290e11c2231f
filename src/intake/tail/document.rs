//! A file that is one document: an object or an array over any number of lines, written as a whole.

use std::fs::File;
use std::io;

use super::{Around, DoorError, Look, Mode, Polled, Print, Tail, fill};
use crate::intake::items::{DOCUMENT_BYTES_MAX, ended, is_whole, items};
use crate::intake::position::Position;
use crate::intake::shared::Chunk;

impl Tail {
    /// Takes the document where it is another one than last time, and whole; those of its items
    /// that did not come before.
    pub(super) fn poll_document(
        &mut self,
        look: Look,
        around: Around<'_>,
    ) -> Result<Polled, DoorError> {
        if self.reading == Some(look) {
            return Ok(Polled::Idle);
        }
        let is_still = self.look.replace(look) == Some(look);
        if !is_still && self.reading.is_some() {
            // It is being written: what is half there need not be read each time.
            return Ok(Polled::Unsettled);
        }
        let text = self.document().map_err(|error| self.unreadable(error))?;
        if self.metadata().map(|it| Look::of(&it)) != Some(look) {
            return Ok(Polled::Unsettled);
        }
        self.reading = Some(look);
        if !is_whole(&text) && text.len() < DOCUMENT_BYTES_MAX {
            if is_still && !text.is_empty() {
                let input = self.path.display();
                tracing::warn!(%input, "is no whole JSON document yet; waiting for its rest");
            }
            return Ok(Polled::Idle);
        }
        let position = self.document_position(&text);
        self.take_document(&text, items(&text), position, around)
    }

    /// Takes what there is of the document: nobody writes it any more.
    pub(super) fn finish_document(&mut self, around: Around<'_>) -> Result<Polled, DoorError> {
        let finished = self.is_unlinked();
        let text = self.document().map_err(|error| self.unreadable(error))?;
        let position = Position { finished, ended: !finished, ..self.document_position(&text) };
        if self.last == position.last && self.offset == position.offset {
            self.open = None;
            return Ok(Polled::Read(position));
        }
        let taken = self.take_document(&text, ended(&text), position, around);
        self.open = None;
        taken
    }

    /// Goes on where an earlier process took the document.
    pub(super) fn resume_document(&mut self, file: &File, position: &Position) -> io::Result<()> {
        let look = Look::of(&file.metadata()?);
        let mut text = read(file)?;
        text.truncate(usize::try_from(position.offset).unwrap_or(usize::MAX));
        self.unseen(&items(&text));
        if look.bytes == position.offset {
            (self.look, self.reading) = (Some(look), Some(look));
        }
        Ok(())
    }

    fn take_document(
        &mut self,
        text: &[u8],
        mut lines: Vec<u8>,
        position: Position,
        around: Around<'_>,
    ) -> Result<Polled, DoorError> {
        if text.len() >= DOCUMENT_BYTES_MAX {
            // As a line that is too long, which is refused with its length.
            lines = text.iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }).collect();
        }
        let fresh = self.unseen(&lines);
        let Some(mut open) = self.open.take() else { return Ok(Polled::Idle) };
        let Around { door, is_stopped } = around;
        let before = open.stream.account();
        open.stream.seek(0);
        let chunk = Chunk { bytes: &fresh, is_rest: true };
        let known = position.clone();
        let taken = door.bring(&mut open.stream, chunk, is_stopped, |_, _| Some(known));
        (self.offset, self.last, self.first) = (position.offset, position.last, position.first);
        self.count(before, open.stream.account());
        open.stream.seek(self.offset);
        self.open = Some(open);
        Ok(if taken?.is_some() { Polled::Read(position) } else { Polled::Stopped })
    }

    /// The position behind the document.
    fn document_position(&self, text: &[u8]) -> Position {
        let offset = text.len() as u64;
        let (last, first) = (Some(Print::of(text)), Some(Print::of_start(text)));
        Position { offset, last, first, ..self.position() }
    }

    fn document(&self) -> io::Result<Vec<u8>> {
        self.open.as_ref().map_or(Ok(Vec::new()), |open| read(&open.file))
    }
}

/// The position behind a document that is passed over.
pub(in crate::intake) fn behind(tail: &Tail, file: &File) -> io::Result<Position> {
    debug_assert_eq!(tail.mode, Mode::Document);
    Ok(tail.document_position(&read(file)?))
}

/// The whole document, or as much of it as is taken at most.
fn read(file: &File) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut text = vec![0; bytes.min(DOCUMENT_BYTES_MAX)];
    let filled = fill(file, &mut text, 0)?;
    text.truncate(filled);
    Ok(text)
}
