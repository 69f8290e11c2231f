//! A receiver of syslog: UDP, TCP with either framing, TLS; every message judged by RFC 5424.

mod message;

use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::ids::Taken;
use super::tls::Authority;
use super::{FakeError, ids};
use crate::account::{Book, Report, Visit};

/// How messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each (RFC 5426).
    Udp,
    /// Behind their length (RFC 6587, 3.4.1).
    Counted,
    /// Each ended by a line feed (RFC 6587, 3.4.2).
    Lines,
    /// Behind their length, over TLS (RFC 5425).
    Tls,
}

/// A running receiver; its threads end with the process.
pub struct Syslog {
    addr: SocketAddr,
    authority: Option<Authority>,
    shared: Arc<Shared>,
}

struct Shared {
    book: Arc<Book>,
    judge_every: u64,
    messages: AtomicU64,
    /// Connections that are open.
    open: AtomicU64,
}

impl Syslog {
    /// Starts to receive.
    pub fn start(
        book: Arc<Book>,
        listen: SocketAddr,
        transport: Transport,
        judge_every: u64,
    ) -> Result<Self, FakeError> {
        let failed = |source| FakeError::Listen { listen, source };
        let authority = match transport {
            Transport::Tls => Some(Authority::new(&[])?),
            _ => None,
        };
        let tls = authority.as_ref().map(Authority::server).transpose()?;
        let shared = Arc::new(Shared {
            book,
            judge_every: judge_every.max(1),
            messages: AtomicU64::new(0),
            open: AtomicU64::new(0),
        });
        let kept = Arc::clone(&shared);
        let addr = if transport == Transport::Udp {
            let socket = UdpSocket::bind(listen).map_err(failed)?;
            // What the kernel drops here nobody hears of; it gives what it may.
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES);
            let addr = socket.local_addr().map_err(failed)?;
            std::thread::spawn(move || kept.datagrams(&socket));
            addr
        } else {
            let listener = TcpListener::bind(listen).map_err(failed)?;
            let addr = listener.local_addr().map_err(failed)?;
            std::thread::spawn(move || kept.accept(&listener, transport, tls.as_ref()));
            addr
        };
        Ok(Self { addr, authority, shared })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The certificate to trust, as PEM, when it speaks TLS.
    #[must_use]
    pub fn authority_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(|authority| authority.pem.as_str())
    }

    /// The account as it stands.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.book.report()
    }

    /// Waits until every connection has ended and datagrams have stopped coming.
    pub fn settle(&self) {
        let deadline = Instant::now() + SETTLE_MAX;
        let mut seen = self.shared.messages.load(Ordering::Acquire);
        loop {
            std::thread::sleep(QUIET);
            let now = self.shared.messages.load(Ordering::Acquire);
            let is_over = self.shared.open.load(Ordering::Acquire) == 0 && now == seen;
            if is_over || Instant::now() > deadline {
                return;
            }
            seen = now;
        }
    }
}

impl Shared {
    fn datagrams(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(bytes) = socket.recv(&mut buffer) {
            if bytes > DATAGRAM_BYTES {
                let what = "a datagram is longer than receivers should take (RFC 5426, 3.2)";
                self.book.note_problem(what, &buffer[..bytes]);
            }
            let mut taken = Taken::default();
            self.take(&buffer[..bytes], &mut taken);
            self.note(taken, bytes);
        }
    }

    fn accept(
        self: Arc<Self>,
        listener: &TcpListener,
        transport: Transport,
        tls: Option<&Arc<ServerConfig>>,
    ) {
        for tcp in listener.incoming() {
            let Ok(tcp) = tcp else { continue };
            let (kept, tls) = (Arc::clone(&self), tls.cloned());
            self.open.fetch_add(1, Ordering::AcqRel);
            std::thread::spawn(move || {
                if let Err(error) = kept.serve(tcp, transport, tls) {
                    // Clients end connections as they like; half a message is another matter.
                    if error.kind() == io::ErrorKind::InvalidData {
                        kept.book.note_problem(&error.to_string(), b"");
                    }
                }
                kept.open.fetch_sub(1, Ordering::AcqRel);
            });
        }
    }

    fn serve(
        &self,
        tcp: TcpStream,
        transport: Transport,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<()> {
        match tls {
            Some(config) => {
                let session = ServerConnection::new(config).map_err(io::Error::other)?;
                self.read(StreamOwned::new(session, tcp), transport)
            }
            None => self.read(tcp, transport),
        }
    }

    fn read(&self, stream: impl Read, transport: Transport) -> io::Result<()> {
        let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        let mut message = Vec::new();
        loop {
            let is_whole = match transport {
                Transport::Lines => line(&mut stream, &mut message)?,
                _ => counted(&mut stream, &mut message)?,
            };
            if !is_whole {
                return Ok(());
            }
            let mut taken = Taken::default();
            self.take(&message, &mut taken);
            self.note(taken, message.len());
        }
    }

    fn take(&self, message: &[u8], taken: &mut Taken) {
        let number = self.messages.fetch_add(1, Ordering::AcqRel);
        let is_judged = number.is_multiple_of(self.judge_every);
        if let Some(fault) = is_judged.then(|| message::fault(message)).flatten() {
            self.book.note_problem(&fault, message);
        }
        match ids::first(message) {
            Some(id) => taken.store(&self.book, id),
            None => {
                taken.store_text(&self.book, message, "", &String::from_utf8_lossy(message));
            }
        }
    }

    fn note(&self, taken: Taken, bytes: usize) {
        self.book.note_accepted(&taken.due, crate::clock::now_ns());
        taken.note(&self.book);
        let bytes = bytes as u64;
        self.book.note_request(200, Visit { wire_bytes: bytes, body_bytes: bytes });
    }
}

/// `MSG-LEN SP MSG`, MSG-LEN without a leading zero; false at the end.
fn counted(stream: &mut impl BufRead, message: &mut Vec<u8>) -> io::Result<bool> {
    message.clear();
    stream.by_ref().take(COUNT_DIGITS_MAX + 1).read_until(b' ', message)?;
    if message.is_empty() {
        return Ok(false);
    }
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let digits = message.strip_suffix(b" ").unwrap_or_default();
    let is_count = !digits.is_empty() && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit);
    if !is_count {
        return Err(wrong("no count before a message (RFC 6587, 3.4.1)"));
    }
    let count = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<usize>().ok());
    let count = count.filter(|&count| count <= MESSAGE_BYTES_MAX);
    let count = count.ok_or_else(|| wrong("a message is longer than 64 KiB"))?;
    message.resize(count, 0);
    stream.read_exact(message)?;
    Ok(true)
}

fn line(stream: &mut impl BufRead, message: &mut Vec<u8>) -> io::Result<bool> {
    message.clear();
    stream.read_until(b'\n', message)?;
    Ok(message.pop_if(|byte| *byte == b'\n').is_some())
}

/// RFC 5426, 3.2: receivers "SHOULD be able to accept" this much.
const DATAGRAM_BYTES: usize = 2048;
const MESSAGE_BYTES_MAX: usize = 1 << 16;
const COUNT_DIGITS_MAX: u64 = 8;
const BUFFER_BYTES: usize = 256 << 10;
/// So long nothing comes once everything has.
const QUIET: Duration = Duration::from_millis(200);
const SETTLE_MAX: Duration = Duration::from_secs(30);
