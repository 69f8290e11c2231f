//! A file that is read once, whether somebody compressed it or not.

use std::io::{self, BufReader, Read};

/// What a file holds: unpacked where it begins as gzip or zstd do, else as it is.
#[derive(Debug)]
pub struct Unpacked<R>(State<R>);

enum State<R> {
    /// Nothing was read yet: a pipe may have nothing for long.
    Before(Option<R>),
    Lines(Box<dyn Read + Send>),
}

impl<R> Unpacked<R> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(from: R) -> Self {
        Self(State::Before(Some(from)))
    }
}

impl<R: Read + Send + 'static> Read for Unpacked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.0 {
                State::Lines(lines) => return lines.read(out),
                State::Before(from) => match from.take() {
                    Some(from) => self.0 = State::Lines(lines(from)?),
                    None => return Ok(0),
                },
            }
        }
    }
}

impl<R> std::fmt::Debug for State<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Before(_)) { "Before" } else { "Lines" })
    }
}

fn lines(mut from: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::with_capacity(START_BYTES);
    from.by_ref().take(START_BYTES as u64).read_to_end(&mut start)?;
    let is_gzip = start.starts_with(&GZIP);
    let is_zstd = start.starts_with(&ZSTD);
    let whole = io::Cursor::new(start).chain(from);
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(whole))),
        (_, true) => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}

/// How gzip begins, compressed by deflate (RFC 1952, 2.3.1); no text does.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
/// How zstd begins (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes by which they are known.
const START_BYTES: usize = 4;
