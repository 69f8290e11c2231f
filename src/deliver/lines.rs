//! A transport that writes bodies to the standard output: the embedded default, and pipes.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::Mutex;

use super::errand::errand;
use super::{Answer, Applied, Request, Transport, TransportError, TransportErrorKind};

/// Writes each body whole to the standard output and answers 200.
///
/// A reader that went away is reported like a connection that broke: the events stay in the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Lines {
    /// Whether whoever read the standard output is gone: nobody else can come in his place.
    #[must_use]
    pub fn have_no_reader() -> bool {
        NO_READER.load(Ordering::Acquire)
    }
}

impl Transport for Lines {
    async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        // A pipe may be full for as long as its reader likes. The next body waits here for it, so
        // that one thread does.
        let turn = TURN.lock().await;
        let body = request.body;
        let written = errand("shrike-stdout", move || {
            let written = write(&body);
            drop(turn);
            written
        });
        match written.await.flatten() {
            Ok(()) => Ok(Answer { status: 200, headers: HeaderMap::new(), body: Bytes::new() }),
            Err(error) => {
                let is_gone = error.kind() == io::ErrorKind::BrokenPipe;
                NO_READER.fetch_or(is_gone, Ordering::AcqRel);
                Err(lost(&error))
            }
        }
    }
}

/// Whose turn it is: all exporters write to the one standard output.
static TURN: Mutex<()> = Mutex::const_new(());

/// Of the process, as the standard output is.
static NO_READER: AtomicBool = AtomicBool::new(false);

/// Writes one body; bodies of several workers never mix within one.
fn write(body: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(body)?;
    stdout.flush()
}

fn lost(error: &io::Error) -> TransportError {
    TransportError {
        kind: TransportErrorKind::Network,
        applied: Applied::Maybe,
        detail: format!("standard output: {error}"),
    }
}
