//! The means to break an accepted connection.

use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::time::Duration;

use tokio::sync::Notify;

/// The way to end a connection from inside a request.
pub(super) struct Cut {
    /// A second handle of the socket; the last one closed decides how it ends.
    socket: StdTcpStream,
    /// Told when the connection's task is to drop everything.
    pub(super) now: Notify,
}

impl Cut {
    pub(super) fn new(socket: StdTcpStream) -> Self {
        Self { socket, now: Notify::new() }
    }

    /// Ends the connection with a reset: the peer sees ECONNRESET.
    pub(super) fn reset(&self) {
        // Linger 0 turns the close into a reset (RFC 9293, 3.6 and the ABORT call in 3.9.1). A
        // socket that is gone already needs neither, so failures do not matter here.
        let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        self.now.notify_one();
    }

    /// Ends the connection in order: the peer sees the end of the stream.
    pub(super) fn close(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
        self.now.notify_one();
    }
}
