//! A transport that writes bodies to the standard output: the embedded default, and pipes.

use std::io::{self, Write};

use bytes::Bytes;
use http::HeaderMap;

use super::{Answer, Applied, Request, Transport, TransportError, TransportErrorKind};

/// Writes each body whole to the standard output and answers 200.
///
/// A reader that went away is reported like a connection that broke: the events stay in the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Transport for Lines {
    async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        let body = request.body;
        // A pipe may be full for as long as its reader likes, so the write leaves this thread.
        let written = tokio::task::spawn_blocking(move || write(&body)).await;
        match written {
            Ok(Ok(())) => Ok(Answer { status: 200, headers: HeaderMap::new(), body: Bytes::new() }),
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err(lost(&io::Error::other("the writing thread ended"))),
        }
    }
}

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
