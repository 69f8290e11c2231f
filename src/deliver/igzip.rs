//! gzip by ISA-L, where the build has its tools: half the CPU time of zlib-rs and smaller bodies
//! (`docs/decisions/compression.md`).

use std::io::Write;

use ::isal::CompressionLevel;
use ::isal::write::GzipEncoder;

/// A gzip stream.
pub(super) struct Igzip(Box<GzipEncoder<Vec<u8>>>);

// SAFETY: The encoder is not `Send` only because its C state holds pointers. They point into its
// own heap buffer, which moves with it, to constant tables, and to the input and output of the call
// under way; each call sets the latter anew before the C code reads them. It touches no thread
// local state. The keeper of this is isal-rs 0.5, whose encoder owns all of it.
unsafe impl Send for Igzip {}

impl Igzip {
    /// The level that it stands in for; at others zlib-rs has the better ratio.
    pub(super) const LEVEL: u32 = 1;

    pub(super) fn new() -> Self {
        Self(Box::new(GzipEncoder::new(Vec::new(), CompressionLevel::One)))
    }

    pub(super) fn write(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.0.write_all(input).expect("igzip fails only on a stream that was misused");
        out.append(self.0.get_ref_mut());
    }

    /// Writes the end of the stream and begins the next.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.0.flush().expect("igzip fails only on a stream that was misused");
        out.append(self.0.get_ref_mut());
    }
}
