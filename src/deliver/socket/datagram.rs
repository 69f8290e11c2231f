//! Documents as datagrams: one each, and nothing comes back.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use rustix::net::sockopt;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::{Instant, sleep, timeout_at};

use super::super::tls::io_words;
use super::super::{Answer, Applied, TransportError, TransportErrorKind};

/// A socket that is connected to one receiver.
pub(super) struct Datagrams {
    socket: Socket,
    pub(super) made: Instant,
    /// Bytes of a datagram that the system takes at most.
    bytes_max: usize,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    /// A UDP socket to the first address of a receiver that this host has a way to; connecting
    /// sends nothing.
    pub(super) async fn udp(addresses: &[SocketAddr]) -> Result<Self, TransportError> {
        let mut failure = unreached("no address");
        for address in addresses {
            match connected(address).await {
                Ok(socket) => {
                    let bytes_max = if address.is_ipv4() { UDP_V4_BYTES } else { UDP_V6_BYTES };
                    return Ok(Self {
                        socket: Socket::Udp(socket),
                        made: Instant::now(),
                        bytes_max,
                    });
                }
                Err(error) => failure = unreached(&io_words(&error)),
            }
        }
        Err(failure)
    }

    /// A socket to a receiver on this machine.
    pub(super) fn unix(path: &Path) -> Result<Self, TransportError> {
        let open = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            // Linux asks for so much less than the buffer (net/unix/af_unix.c).
            let bytes_max = sockopt::socket_send_buffer_size(&socket)?.saturating_sub(32);
            Ok(Self { socket: Socket::Unix(socket), made: Instant::now(), bytes_max })
        };
        open().map_err(|error: io::Error| unreached(&io_words(&error)))
    }

    /// Sends each document of a body that is framed by octet counts.
    ///
    /// A document that is too large for the way is answered as HTTP does, with 413, so that the
    /// batch is taken apart until it is found. An error that came back says that somebody refused
    /// an earlier datagram; which ones arrived, nobody can tell.
    pub(super) async fn send(
        &self,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Answer, TransportError> {
        if let Some(error) = self.told()? {
            return Err(unreached(&io_words(&error)));
        }
        if !self.fits(body) {
            return Ok(answer(413));
        }
        let mut rest = &body[..];
        let mut sent = 0_usize;
        while !rest.is_empty() {
            let (document, after) = counted(rest).ok_or_else(|| TransportError {
                kind: TransportErrorKind::Protocol,
                applied: Applied::Maybe,
                detail: "the body is not framed by octet counts".to_owned(),
            })?;
            match timeout_at(deadline, self.send_one(document)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    return Ok(answer(413));
                }
                Ok(Err(error)) => return Err(refused(&error, sent)),
                Err(_) => {
                    return Err(TransportError {
                        kind: TransportErrorKind::Timeout,
                        applied: applied(sent),
                        detail: "the system took no more datagrams in time".to_owned(),
                    });
                }
            }
            sent += 1;
            rest = after;
            if sent.is_multiple_of(BURST) && matches!(self.socket, Socket::Udp(_)) {
                sleep(PAUSE).await;
            }
        }
        match self.told()? {
            Some(error) => Err(refused(&error, sent)),
            None => Ok(answer(200)),
        }
    }

    /// Whether each document is one that the system takes, so that none is sent of a batch that is
    /// to be taken apart. What the way beyond takes only shows when it is sent.
    fn fits(&self, body: &[u8]) -> bool {
        let mut rest = body;
        while let Some((document, after)) = counted(rest) {
            if document.len() > self.bytes_max {
                return false;
            }
            rest = after;
        }
        true
    }

    async fn send_one(&self, document: &[u8]) -> io::Result<()> {
        match &self.socket {
            Socket::Udp(socket) => socket.send(document).await.map(|_| ()),
            Socket::Unix(socket) => socket.send(document).await.map(|_| ()),
        }
    }

    /// What came back for datagrams that were sent before: a port that nobody listens on.
    fn told(&self) -> Result<Option<io::Error>, TransportError> {
        let told = match &self.socket {
            Socket::Udp(socket) => socket.take_error(),
            Socket::Unix(socket) => socket.take_error(),
        };
        told.map_err(|error| refused(&error, 0))
    }
}

async fn connected(address: &SocketAddr) -> io::Result<UdpSocket> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// The first document of a body framed by octet counts, and the rest (RFC 6587, 3.4.1).
fn counted(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (digits, rest) = body.split_at(body.iter().take(8).position(|&byte| byte == b' ')?);
    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
    rest[1..].split_at_checked(length)
}

fn answer(status: u16) -> Answer {
    Answer { status, headers: HeaderMap::new(), body: Bytes::new() }
}

fn applied(sent: usize) -> Applied {
    if sent == 0 { Applied::No } else { Applied::Maybe }
}

fn refused(error: &io::Error, sent: usize) -> TransportError {
    let kind = TransportErrorKind::Network;
    TransportError { kind, applied: applied(sent), detail: io_words(error) }
}

fn unreached(detail: &str) -> TransportError {
    let detail = detail.to_owned();
    TransportError { kind: TransportErrorKind::Connect, applied: Applied::No, detail }
}

/// Datagrams at once, and the pause behind them: a receiver with the usual buffer of 208 KiB has
/// room for about 90, drops the rest without a word, and reads on meanwhile.
const BURST: usize = 32;
const PAUSE: Duration = Duration::from_millis(1);

/// What is left of 65,535 bytes below the headers of IPv4 and UDP; IPv6 counts its own apart.
const UDP_V4_BYTES: usize = 65_535 - 20 - 8;
const UDP_V6_BYTES: usize = 65_535 - 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_address_with_a_way_to_it_is_taken() {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = receiver.local_addr().expect("an address");
        // ip(7), EACCES: "tried to connect to a broadcast address without having the broadcast
        // flag set".
        let refused = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        assert!(Datagrams::udp(&[refused]).await.is_err(), "there is no way to it");
        let datagrams = Datagrams::udp(&[refused, address]).await.expect("one is reached");
        datagrams.send(&Bytes::from_static(b"1 x"), Instant::now()).await.expect("taken");
        assert_eq!(receiver.recv(&mut [0; 8]).await.expect("it came"), 1);
    }

    #[tokio::test]
    async fn nothing_is_sent_of_a_body_that_is_to_be_split() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log.sock");
        let receiver = UnixDatagram::bind(&path).expect("a free path");
        let datagrams = Datagrams::unix(&path).expect("it is there");
        let large = [b"1 x9000000 ".as_slice(), &[b'y'; 9_000_000]].concat();
        let deadline = Instant::now() + Duration::from_secs(20);
        let answer = datagrams.send(&Bytes::from(large), deadline).await.expect("judged");
        assert_eq!(answer.status, 413);
        // Halves carry what came before it again.
        datagrams.send(&Bytes::from_static(b"1 z"), deadline).await.expect("taken");
        let mut first = [0; 8];
        let bytes = receiver.recv(&mut first).await.expect("it came");
        assert_eq!(&first[..bytes], b"z");
        // The bound is the system's own.
        datagrams.send_one(&vec![b'y'; datagrams.bytes_max]).await.expect("it just fits");
        let refused = datagrams.send_one(&vec![b'y'; datagrams.bytes_max + 1]).await;
        assert_eq!(refused.expect_err("too large").raw_os_error(), Some(libc::EMSGSIZE));
    }

    #[test]
    fn a_body_is_taken_apart_by_its_counts() {
        let mut rest = &b"5 a b\nc3 xyz0 11 hello world"[..];
        let mut found = Vec::new();
        while let Some((document, after)) = counted(rest) {
            found.push(document);
            rest = after;
        }
        assert_eq!(found, [&b"a b\nc"[..], b"xyz", b"", b"hello world"]);
        assert!(rest.is_empty());
        for broken in ["", "5", "9 short", "x y", "123456789 ", "-1 x"] {
            assert_eq!(counted(broken.as_bytes()), None, "{broken}");
        }
    }
}
