//! What the peer of a connection has not taken yet.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes that were written to this connection and that its peer's system has not confirmed.
///
/// tcp(7), `SIOCOUTQ`: "the amount of unsent data in the socket send queue"; Linux counts sent and
/// unacknowledged bytes too, `write_seq - snd_una` (net/ipv4/tcp.c). On this machine they are those
/// that the peer has not read (net/unix/af_unix.c, `unix_outq_len`). There is no safe call for it.
pub(super) fn outstanding(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, since it is borrowed; `TIOCOUTQ`, which is `SIOCOUTQ` on
    // sockets, writes one `c_int` to the address that follows, and `bytes` is one that nothing
    // else refers to while the call lasts.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn bytes_are_outstanding_until_the_peer_has_room() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut sender = TcpStream::connect(address).expect("it listens");
        let (mut receiver, _) = listener.accept().expect("a connection");
        sender.set_nonblocking(true).expect("a socket");
        let mut written = 0;
        // More than both systems' buffers take, so that some of it waits on our side.
        while let Ok(bytes) = sender.write(&[b'x'; 65_536]) {
            written += bytes;
        }
        assert!(outstanding(sender.as_fd()).expect("a socket") > 0);
        let mut rest = vec![0; written];
        receiver.read_exact(&mut rest).expect("all that was written");
        while outstanding(sender.as_fd()).expect("a socket") > 0 {
            std::thread::yield_now();
        }
    }
}
