//! From a host name to a connected socket.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::tls::io_words;
use super::{Applied, TransportError, TransportErrorKind, names};

/// Asks the system's resolver for the addresses of a host; both families in turn.
///
/// No time limit, here and below: the caller has one for the whole connection, and it knows which
/// host it asked for, so errors do not repeat it.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, TransportError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed =
        |detail| TransportError { kind: TransportErrorKind::Dns, applied: Applied::No, detail };
    let mut found = names::SYSTEM.find(bare).await.map_err(failed)?;
    found.truncate(ADDRESSES_MAX);
    found.iter_mut().for_each(|address| address.set_port(port));
    if found.is_empty() {
        return Err(failed("the name has no address".to_owned()));
    }
    Ok(interleaved(&found))
}

/// Connects to the first of a host's addresses that answers.
///
/// All are tried, each a quarter of a second after the one before or as soon as that one failed
/// (RFC 8305). `silence_max` bounds how long sent bytes may stay unacknowledged before the
/// connection counts as dead.
pub(super) async fn dial(
    addresses: &[SocketAddr],
    silence_max: Duration,
) -> Result<TcpStream, TransportError> {
    let failed =
        |detail| TransportError { kind: TransportErrorKind::Connect, applied: Applied::No, detail };
    let tcp = race(addresses).await.map_err(|error| failed(io_words(&error)))?;
    tune(&tcp, silence_max)
        .map_err(|error| failed(format!("the socket cannot be set up: {}", io_words(&error))))?;
    Ok(tcp)
}

/// Both families in turn, beginning with the resolver's first choice (RFC 8305 4).
fn interleaved(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v4 = found.first().is_some_and(SocketAddr::is_ipv4);
    let mut same = found.iter().filter(|address| address.is_ipv4() == first_is_v4);
    let mut other = found.iter().filter(|address| address.is_ipv4() != first_is_v4);
    let mut order = Vec::with_capacity(found.len());
    while order.len() < found.len() {
        order.extend(same.next());
        order.extend(other.next());
    }
    order
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// Starts an attempt per address, staggered; the first connection wins and drops the others.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut rest = addresses.iter();
    let mut running: Vec<Attempt> = Vec::with_capacity(addresses.len());
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(&address) = rest.next() {
            running.push(Box::pin(TcpStream::connect(address)));
        } else if running.is_empty() {
            return Err(failure);
        }
        let patience = Instant::now() + STAGGER;
        // With no address left there is nothing to start, so only an attempt can end the wait.
        let mut pause = Box::pin(sleep_until(patience));
        let is_last = rest.len() == 0;
        let turn = poll_fn(|cx| {
            let mut at = 0;
            while at < running.len() {
                match running[at].as_mut().poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(tcp)) => return Poll::Ready(Ok(Some(tcp))),
                    Poll::Ready(Err(error)) => {
                        drop(running.swap_remove(at));
                        return Poll::Ready(Err(error));
                    }
                }
            }
            if !is_last && pause.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(None));
            }
            Poll::Pending
        });
        match turn.await {
            Ok(Some(tcp)) => return Ok(tcp),
            Ok(None) => {}
            Err(error) => failure = error,
        }
    }
}

/// No Nagle, since every write is a whole request; dead peers are noticed in both directions.
fn tune(tcp: &TcpStream, silence_max: Duration) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(tcp, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(tcp, KEEPALIVE_PROBES)?;
    let millis = u32::try_from(silence_max.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(tcp, millis)?;
    Ok(())
}

/// Addresses of one name that are tried, at most: a connect timeout has no room for more.
const ADDRESSES_MAX: usize = 16;

/// The pause before the next address is tried beside the ones before (RFC 8305 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Probing of idle connections: dead ones are gone after a minute, as are the balancers' entries.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    use super::*;

    /// An address that refuses, one that never answers, one that takes connections.
    struct Addresses {
        refusing: SocketAddr,
        silent: SocketAddr,
        open: SocketAddr,
        _kept: Vec<Box<dyn std::any::Any>>,
    }

    async fn addresses() -> Addresses {
        let bound = |backlog: Option<u32>| {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
            let address = socket.local_addr().expect("an address");
            let kept: Box<dyn std::any::Any> = match backlog {
                Some(backlog) => Box::new(socket.listen(backlog).expect("listening")),
                None => Box::new(socket),
            };
            (address, kept)
        };
        let (refusing, unused) = bound(None);
        let (silent, full) = bound(Some(1));
        let (open, listener) = bound(Some(16));
        let mut kept = vec![unused, full, listener];
        // A listener whose queue is full leaves further connections unanswered.
        let patience = Duration::from_millis(100);
        while let Ok(tcp) = timeout(patience, TcpStream::connect(silent)).await {
            kept.push(Box::new(tcp.expect("queued")));
        }
        Addresses { refusing, silent, open, _kept: kept }
    }

    #[tokio::test]
    async fn the_first_address_that_answers_is_taken() {
        let of = addresses().await;
        let cases: [&[SocketAddr]; 5] = [
            &[of.open],
            &[of.refusing, of.open],
            &[of.silent, of.open],
            &[of.silent, of.refusing, of.silent, of.open],
            &[of.open, of.silent],
        ];
        for addresses in cases {
            let tcp = race(addresses).await.expect("one address answers");
            assert_eq!(tcp.peer_addr().expect("connected"), of.open);
        }
        let error = race(&[of.refusing, of.refusing]).await.expect_err("none answers");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_connection_notices_when_its_peer_is_dead() {
        let of = addresses().await;
        let tcp = dial(&[of.open], Duration::from_secs(7)).await.expect("connected");
        assert!(tcp.nodelay().expect("a TCP socket"));
        assert!(sockopt::socket_keepalive(&tcp).expect("a TCP socket"));
        assert_eq!(sockopt::tcp_user_timeout(&tcp).expect("a TCP socket"), 7000);
    }

    #[test]
    fn both_families_are_tried_in_turn() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().expect("a written address")).collect()
        };
        let cases: [(&[&str], &[&str]); 3] = [
            (&["[::1]:1", "[::2]:1", "1.1.1.1:1"], &["[::1]:1", "1.1.1.1:1", "[::2]:1"]),
            (&["1.1.1.1:1", "[::1]:1", "[::2]:1"], &["1.1.1.1:1", "[::1]:1", "[::2]:1"]),
            (&["1.1.1.1:1", "2.2.2.2:1"], &["1.1.1.1:1", "2.2.2.2:1"]),
        ];
        for (found, order) in cases {
            assert_eq!(interleaved(&parse(found)), parse(order));
        }
    }
}
