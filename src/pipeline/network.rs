//! The transport that an exporter's vendor asks for.

use std::sync::Arc;

use crate::deliver::{
    Answer, Destination, Files, HttpTransport, Lines, Request, SocketDestination, SocketTransport,
    Transport, TransportError, TransportLimits,
};

/// One lane's way to its destination, before it has a thread to live on.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// Requests over HTTP.
    Http(Arc<Destination>, TransportLimits),
    /// Bodies on the standard output.
    Lines,
    /// Bodies in files.
    File(Files),
    /// Bodies over sockets.
    Socket(Arc<SocketDestination>),
}

/// One lane's way to its destination; connections live on the lane's thread.
pub(crate) enum Network {
    /// Requests over HTTP.
    Http(Box<HttpTransport>),
    /// Bodies on the standard output.
    Lines(Lines),
    /// Bodies in files.
    File(Files),
    /// Bodies over sockets.
    Socket(SocketTransport),
}

impl Way {
    /// Opens the way, inside the worker's runtime.
    pub(crate) fn open(&self) -> Network {
        match self {
            Self::Http(destination, limits) => {
                Network::Http(Box::new(HttpTransport::share(destination, *limits)))
            }
            Self::Lines => Network::Lines(Lines),
            Self::File(files) => Network::File(files.clone()),
            Self::Socket(destination) => Network::Socket(SocketTransport::share(destination)),
        }
    }

    /// The same way with one connection of its own, for what must not keep batches waiting.
    pub(crate) fn beside(&self) -> Self {
        match self {
            Self::Http(destination, limits) => {
                let limits = TransportLimits { connections: 1, ..*limits };
                Self::Http(Arc::clone(destination), limits)
            }
            Self::Lines | Self::File(_) | Self::Socket(_) => self.clone(),
        }
    }
}

impl Network {
    /// Ends the requests under way as if their time were over, which tells how far they got; false
    /// where that cannot be told.
    pub(crate) fn abandon(&self) -> bool {
        match self {
            Self::Http(http) => {
                http.abandon();
                true
            }
            Self::Lines(_) | Self::File(_) | Self::Socket(_) => false,
        }
    }
}

impl Transport for Network {
    async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        match self {
            Self::Http(http) => http.send(request).await,
            Self::Lines(lines) => lines.send(request).await,
            Self::File(files) => files.send(request).await,
            Self::Socket(socket) => socket.send(request).await,
        }
    }
}
