//! The transport that an exporter's vendor asks for.

use crate::deliver::{Answer, HttpTransport, Lines, Request, Transport, TransportError};

/// One lane's way to its destination.
#[derive(Debug)]
pub(crate) enum Network {
    /// Requests over HTTP.
    Http(HttpTransport),
    /// Bodies on the standard output.
    Lines(Lines),
}

impl Transport for Network {
    async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        match self {
            Self::Http(http) => http.send(request).await,
            Self::Lines(lines) => lines.send(request).await,
        }
    }
}
