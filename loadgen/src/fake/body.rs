//! Bodies: read whole, decompressed as the vendor would.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;

/// Why a body could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The client broke off.
    #[error("the client broke off inside the body: {0}")]
    Broken(#[from] hyper::Error),
    /// Longer than the vendor takes.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The bound in force.
        limit: usize,
    },
    /// An encoding that the vendor does not know.
    #[error("Content-Encoding {0:?} is none that this vendor decodes")]
    Encoding(String),
    /// Not what the encoding says.
    #[error("the body is no {encoding}: {source}")]
    Damaged {
        /// What the header said.
        encoding: &'static str,
        /// What the decoder said.
        source: io::Error,
    },
}

/// An encoding of HTTP bodies (RFC 9110, 8.4.1; RFC 8878 for zstd).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950: zlib's wrapping, not bare deflate.
    Deflate,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// Reads a header value, case-insensitively.
    #[must_use]
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

/// Reads a body to its end, at most `bytes_max` bytes, at most `pace` bytes a second.
///
/// A body above the bound is read on and thrown away, as servers do that answer 413 on a
/// connection that is to live on.
pub(super) async fn collect(
    mut body: Incoming,
    bytes_max: usize,
    pace: Option<u64>,
) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut dropped = false;
    while let Some(frame) = std::future::poll_fn(|cx| Body::poll_frame(pin(&mut body), cx)).await {
        let Ok(piece) = frame?.into_data() else { continue };
        if let Some(pace) = pace {
            let nanos = piece.remaining() as u64 * 1_000_000_000 / pace.max(1);
            tokio::time::sleep(Duration::from_nanos(nanos)).await;
        }
        dropped |= first.len() + rest.len() + piece.len() > bytes_max;
        if dropped {
            continue;
        }
        if first.is_empty() {
            // Most small bodies come in one piece and are never copied.
            first = piece;
        } else {
            if rest.is_empty() {
                rest.reserve(usize::try_from(Body::size_hint(&body).lower()).unwrap_or(0));
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&piece);
        }
    }
    if dropped {
        return Err(BodyError::TooLarge { limit: bytes_max });
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn pin(body: &mut Incoming) -> std::pin::Pin<&mut Incoming> {
    std::pin::Pin::new(body)
}

/// Undoes an encoding; the result has at most `bytes_max` bytes.
pub(super) fn decode(
    encoding: Option<Encoding>,
    body: Bytes,
    bytes_max: usize,
) -> Result<Bytes, BodyError> {
    let Some(encoding) = encoding else { return Ok(body) };
    let mut plain = Vec::with_capacity(body.len().saturating_mul(6).min(bytes_max) + 64);
    let bound = bytes_max as u64 + 1;
    let read = match encoding {
        Encoding::Gzip => {
            if let Some(plain) = inflate_whole(&body, bytes_max) {
                return Ok(plain);
            }
            flate2::bufread::MultiGzDecoder::new(&body[..]).take(bound).read_to_end(&mut plain)
        }
        Encoding::Deflate => {
            flate2::bufread::ZlibDecoder::new(&body[..]).take(bound).read_to_end(&mut plain)
        }
        Encoding::Zstd => zstd::stream::read::Decoder::with_buffer(&body[..])
            .and_then(|decoder| decoder.take(bound).read_to_end(&mut plain)),
    };
    match read {
        Ok(_) if plain.len() > bytes_max => Err(BodyError::TooLarge { limit: bytes_max }),
        Ok(_) => Ok(Bytes::from(plain)),
        Err(source) => Err(BodyError::Damaged { encoding: encoding.name(), source }),
    }
}

/// One gzip member in one go, by the size in its trailer: twice as fast as the stream decoder.
///
/// Nothing when it is anything but one whole member; the stream decoder then says what is wrong.
fn inflate_whole(body: &[u8], bytes_max: usize) -> Option<Bytes> {
    let trailer: [u8; 4] = body.get(body.len().checked_sub(4)?..)?.try_into().ok()?;
    let size = u32::from_le_bytes(trailer) as usize;
    // Deflate cannot shrink by more than 1,032 to 1, so a trailer that says so lies.
    if size > bytes_max || size > body.len().saturating_mul(1_032) {
        return None;
    }
    let mut plain = vec![0; size];
    let mut decoder = libdeflater::Decompressor::new();
    let written = decoder.gzip_decompress(body, &mut plain).ok()?;
    (written == size).then(|| Bytes::from(plain))
}

/// An answer's body: one piece, known in full.
#[derive(Debug)]
pub(super) struct Whole(Option<Bytes>);

impl Whole {
    pub(super) fn new(body: Bytes) -> Self {
        Self(Some(body).filter(|body| !body.is_empty()))
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(|body| Ok(http_body::Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |body| body.len() as u64))
    }
}
