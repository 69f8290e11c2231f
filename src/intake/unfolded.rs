//! A source that is read once and may be a document over many lines, read as lines.

use std::io::{self, Read};

use super::items::{DOCUMENT_BYTES_MAX, is_spread, items};

/// Reads a source as lines: a document, which its beginning tells, is read to its end first, and
/// gives a line for each of its items. Anything else passes as it is.
#[derive(Debug)]
pub struct Unfolded<R> {
    from: R,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The beginning, while that tells nothing yet.
    Beginning(Vec<u8>),
    /// What was read of a document.
    Document(Vec<u8>),
    /// What is to be handed on before the source itself, and how much of it was.
    Lines(Vec<u8>, usize),
}

impl<R: Read> Unfolded<R> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(from: R) -> Self {
        Self { from, state: State::Beginning(Vec::new()) }
    }
}

impl<R: Read> Read for Unfolded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            self.state = match &mut self.state {
                State::Lines(lines, at) => {
                    let left = &lines[*at..];
                    if left.is_empty() {
                        *lines = Vec::new();
                        *at = 0;
                        return self.from.read(out);
                    }
                    let bytes = left.len().min(out.len());
                    out[..bytes].copy_from_slice(&left[..bytes]);
                    *at += bytes;
                    return Ok(bytes);
                }
                State::Beginning(text) => {
                    let is_end = more(&mut self.from, text)? == 0;
                    match is_spread(text) {
                        Some(true) => State::Document(std::mem::take(text)),
                        None if !is_end && text.len() < BEGINNING_BYTES_MAX => continue,
                        _ => State::Lines(std::mem::take(text), 0),
                    }
                }
                State::Document(text) => {
                    if more(&mut self.from, text)? == 0 {
                        State::Lines(items(text), 0)
                    } else if text.len() > DOCUMENT_BYTES_MAX {
                        // Bounded: what is longer is taken line by line.
                        State::Lines(std::mem::take(text), 0)
                    } else {
                        continue;
                    }
                }
            };
        }
    }
}

fn more(from: &mut impl Read, text: &mut Vec<u8>) -> io::Result<usize> {
    let start = text.len();
    text.resize(start + PIECE_BYTES, 0);
    let read = from.read(&mut text[start..]);
    text.truncate(start + *read.as_ref().unwrap_or(&0));
    read
}

/// Bytes that may tell nothing: what begins with more blanks is taken line by line.
const BEGINNING_BYTES_MAX: usize = 64 << 10;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, and is interrupted before each.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.0.read(&mut out[..1])
        }
    }

    /// Gives blanks without an end, and counts them.
    struct Blank(usize);

    impl Read for Blank {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            out.fill(b'\n');
            self.0 += out.len();
            Ok(out.len())
        }
    }

    #[test]
    fn blanks_without_an_end_are_handed_on() {
        let mut blank = Unfolded::new(Blank(0));
        let mut out = vec![0; 1 << 10];
        blank.read_exact(&mut out).expect("it has no end");
        assert!(blank.from.0 <= BEGINNING_BYTES_MAX + PIECE_BYTES, "{}", blank.from.0);
    }

    #[test]
    fn a_document_becomes_lines_and_lines_stay() {
        for (text, expected) in [
            ("{\n\"a\": 1\n}\n", "{\"a\":1}\n"),
            ("[\n{\"a\":1},\n{\"b\":2}\n]\n", "{\"a\":1}\n{\"b\":2}\n"),
            ("[2026-02-06 INFO] up\n{\"a\":1}\n", "[2026-02-06 INFO] up\n{\"a\":1}\n"),
            ("{\n{\"a\":1}\n", "{\n{\"a\":1}\n"),
            ("{\"a\":1}\nhalf", "{\"a\":1}\nhalf"),
            (" \n", " \n"),
            ("", ""),
        ] {
            for is_slow in [false, true] {
                let mut read = String::new();
                let bytes = text.as_bytes();
                let done = match is_slow {
                    true => Unfolded::new(Slow(bytes, false)).read_to_string(&mut read),
                    false => Unfolded::new(bytes).read_to_string(&mut read),
                };
                assert_eq!(
                    (done.expect("memory reads"), read.as_str()),
                    (expected.len(), expected)
                );
            }
        }
    }
}
