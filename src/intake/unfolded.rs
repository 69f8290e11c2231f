//! A source that is read once and may be a document over many lines, read as lines.

use std::io::{self, Read};

use super::items::{DOCUMENT_BYTES_MAX, cut_at, ended, first_items, is_spread, is_whole, items};

/// Reads a source as lines: a document, which its beginning tells, gives a line for each of its
/// items, once it is whole or has become long. Anything else passes as it is.
#[derive(Debug)]
pub struct Unfolded<R> {
    from: R,
    /// What it is called.
    name: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The beginning, while that tells nothing yet.
    Beginning(Vec<u8>),
    /// What was read of a document.
    Document(Vec<u8>),
    /// What is to be handed on, how much of it was, and what comes then; none for the source
    /// itself.
    Lines(Vec<u8>, usize, Option<Box<State>>),
}

impl<R: Read> Unfolded<R> {
    /// Nothing is read yet of the source of this name.
    #[must_use]
    pub fn new(from: R, name: &str) -> Self {
        Self { from, name: name.to_owned(), state: State::Beginning(Vec::new()) }
    }
}

impl<R: Read> Read for Unfolded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            self.state = match &mut self.state {
                State::Lines(lines, at, then) => {
                    let left = &lines[*at..];
                    if left.is_empty() {
                        if let Some(then) = then.take() {
                            self.state = *then;
                            continue;
                        }
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
                    let read = more(&mut self.from, text)?;
                    let is_end = read == 0;
                    match is_spread(text) {
                        Some(true) if ends_here(text, read) => State::of_whole(text),
                        Some(true) => State::Document(std::mem::take(text)),
                        None if !is_end && text.len() < BEGINNING_BYTES_MAX => continue,
                        _ => State::Lines(std::mem::take(text), 0, None),
                    }
                }
                State::Document(text) => {
                    let read = more(&mut self.from, text)?;
                    if read == 0 {
                        if let Some(at) = cut_at(text) {
                            tell_cut(&self.name, (text.len() - at) as u64);
                        }
                        State::Lines(ended(text), 0, None)
                    } else if ends_here(text, read) {
                        State::of_whole(text)
                    } else if text.len() > DOCUMENT_BYTES_MAX {
                        // Bounded: what is whole of it is handed on. One item that is longer is
                        // taken line by line.
                        match first_items(text) {
                            Some((lines, rest)) => {
                                State::Lines(lines, 0, Some(Box::new(State::Document(rest))))
                            }
                            None => State::Lines(std::mem::take(text), 0, None),
                        }
                    } else {
                        continue;
                    }
                }
            };
        }
    }
}

impl State {
    /// The items of a document, and whatever follows it.
    fn of_whole(text: &[u8]) -> Self {
        Self::Lines(items(text), 0, Some(Box::new(Self::Beginning(Vec::new()))))
    }
}

/// Whether a document ends where so many bytes were read last: whoever writes one object after the
/// other may write the next one tomorrow.
fn ends_here(text: &[u8], read: usize) -> bool {
    let end = text.trim_ascii_end();
    // With a line that holds only what closes it.
    let may_end = text.ends_with(b"\n") && (end.ends_with(b"\n}") || end.ends_with(b"\n]"));
    may_end && read < PIECE_BYTES && text.len() < WHOLE_BYTES_MAX && is_whole(text)
}

/// Whoever wrote it did not come to its end, or the way here was cut.
fn tell_cut(input: &str, bytes: u64) {
    let text = "ended in the middle of a JSON document: what is not whole of it goes to quarantine; \
                pass it in again as a whole";
    tracing::warn!(input, bytes, "{text}");
}

fn more(from: &mut impl Read, text: &mut Vec<u8>) -> io::Result<usize> {
    let start = text.len();
    text.resize(start + PIECE_BYTES, 0);
    let read = from.read(&mut text[start..]);
    text.truncate(start + *read.as_ref().unwrap_or(&0));
    read
}

/// Bytes of objects that are looked for their ends while they come.
const WHOLE_BYTES_MAX: usize = 1 << 20;
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
        let mut blank = Unfolded::new(Blank(0), "blank");
        let mut out = vec![0; 1 << 10];
        blank.read_exact(&mut out).expect("it has no end");
        assert!(blank.from.0 <= BEGINNING_BYTES_MAX + PIECE_BYTES, "{}", blank.from.0);
    }

    /// Gives one piece after the other, and has no end.
    struct Live<'a>(Vec<&'a str>);

    impl Read for Live<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            assert!(!self.0.is_empty(), "it would wait here");
            let piece = self.0.remove(0).as_bytes();
            out[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn objects_are_handed_on_as_they_come() {
        let pieces = vec![
            "{\n  \"z\": 0\n}\n",
            "{\n  \"a\": 1",
            "\n}\n",
            "{\n  \"b\": [\n]\n}\n{",
            "\n\"c\": 3\n}\n",
        ];
        let mut live = Unfolded::new(Live(pieces), "live");
        for expected in ["{\"z\":0}\n", "{\"a\":1}\n", "{\"b\":[]}\n{\"c\":3}\n"] {
            let mut read = vec![0; expected.len()];
            live.read_exact(&mut read).expect("it is there");
            assert_eq!(String::from_utf8_lossy(&read), expected);
        }
    }

    #[test]
    fn a_document_of_any_length_gives_its_items() {
        let long = "x".repeat(1 << 20);
        let items = DOCUMENT_BYTES_MAX / long.len() + 2;
        let item = format!("{{\n\"a\":\"{long}\"\n}}");
        let expected = format!("{{\"a\":\"{long}\"}}\n").repeat(items);
        let all = vec![item; items];
        for text in [format!("[\n{}\n]\n", all.join(",\n")), all.join("\n")] {
            let mut read = String::new();
            Unfolded::new(text.as_bytes(), "text").read_to_string(&mut read).expect("memory reads");
            assert!(read == expected, "{} of {} bytes", read.len(), expected.len());
        }
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
                    true => Unfolded::new(Slow(bytes, false), "slow").read_to_string(&mut read),
                    false => Unfolded::new(bytes, "bytes").read_to_string(&mut read),
                };
                assert_eq!(
                    (done.expect("memory reads"), read.as_str()),
                    (expected.len(), expected)
                );
            }
        }
    }
}
