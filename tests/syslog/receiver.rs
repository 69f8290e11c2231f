//! Receivers of syslog on loopback sockets that keep every message.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest as _, Sha256};

/// How a receiver of streams behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Reads messages by their octet counts.
    Counted,
    /// Reads messages by line breaks.
    Lines,
    /// Resets the first connection that brings so many bytes, then reads by octet counts.
    Breaks { after_bytes: usize },
    /// Accepts and reads nothing until it is woken.
    Sleeps,
}

/// A running receiver.
pub(crate) struct Receiver {
    address: Option<SocketAddr>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    messages: Mutex<Vec<Vec<u8>>>,
    connections: AtomicUsize,
    closed: AtomicUsize,
    cut: AtomicUsize,
    has_broken: AtomicBool,
    is_awake: Mutex<bool>,
    woken: Condvar,
    is_over: AtomicBool,
}

impl State {
    fn keep(&self, message: Vec<u8>) {
        lock(&self.messages).push(message);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// Takes datagrams, with room for all that a test sends at once.
    pub(crate) fn udp() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let room = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        room.expect("a socket has a buffer");
        let address = socket.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let kept = Arc::clone(&state);
        socket.set_read_timeout(Some(TICK)).expect("a socket");
        thread::spawn(move || datagrams(&kept, |buffer| socket.recv(buffer)));
        Self { address: Some(address), state }
    }

    /// Takes datagrams at a path.
    pub(crate) fn unix(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a free path");
        let state = Arc::new(State::default());
        let kept = Arc::clone(&state);
        socket.set_read_timeout(Some(TICK)).expect("a socket");
        thread::spawn(move || datagrams(&kept, |buffer| socket.recv(buffer)));
        Self { address: None, state }
    }

    /// Takes lines over connections at a path.
    pub(crate) fn unix_stream(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a free path");
        let state = Arc::new(State::default());
        let kept = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || lines(stream, &kept));
            }
        });
        Self { address: None, state }
    }

    /// Takes connections.
    pub(crate) fn tcp(manner: Manner) -> Self {
        Self::listen(move |tcp, state| match manner {
            Manner::Counted => counted(tcp, state),
            Manner::Lines => lines(tcp, state),
            Manner::Breaks { after_bytes } if !state.has_broken.load(Ordering::Acquire) => {
                // One that only asks whether somebody is there ends before.
                (&tcp).read_exact(&mut vec![0; after_bytes])?;
                state.has_broken.store(true, Ordering::Release);
                // Without lingering, closing resets the connection.
                socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO))
            }
            Manner::Breaks { .. } => counted(tcp, state),
            Manner::Sleeps => {
                let awake = lock(&state.is_awake);
                drop(state.woken.wait_while(awake, |awake| !*awake));
                counted(tcp, state)
            }
        })
    }

    /// Takes TLS connections of clients whose certificate our authority made; leaves `ca.pem`,
    /// `client.pem`, `client.key` and `server.sha256` in the directory.
    pub(crate) fn tls(dir: &Path) -> Self {
        let config = certificates(dir);
        Self::listen(move |tcp, state| {
            let session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            counted(StreamOwned::new(session, tcp), state)
        })
    }

    fn listen(serve: impl Fn(TcpStream, &State) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        // What a body is longer than: bytes that wait here unread count as taken by their sender.
        let room = socket2::SockRef::from(&listener).set_recv_buffer_size(16 << 10);
        room.expect("a socket has a buffer");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let kept = Arc::clone(&state);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for tcp in listener.incoming() {
                if kept.is_over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(tcp) = tcp else { continue };
                kept.connections.fetch_add(1, Ordering::AcqRel);
                let (kept, serve) = (Arc::clone(&kept), Arc::clone(&serve));
                // A client that goes away in the middle is what some tests look at.
                thread::spawn(move || {
                    let ended = if serve(tcp, &kept).is_ok() { &kept.closed } else { &kept.cut };
                    ended.fetch_add(1, Ordering::AcqRel);
                });
            }
        });
        Self { address: Some(address), state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("it listens on an address")
    }

    pub(crate) fn port(&self) -> u16 {
        self.address().port()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Acquire)
    }

    /// Connections that were closed in the order that their protocol asks for.
    pub(crate) fn closed(&self) -> usize {
        self.state.closed.load(Ordering::Acquire)
    }

    /// Connections that ended otherwise.
    pub(crate) fn cut(&self) -> usize {
        self.state.cut.load(Ordering::Acquire)
    }

    /// The messages so far, in the order of their arrival.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        lock(&self.state.messages).clone()
    }

    /// The ids of the events so far.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        lock(&self.state.messages)
            .iter()
            .map(|message| super::rfc5424::read(message).data["shrike@32473"]["eventId"].clone())
            .collect()
    }

    /// Lets a sleeping one read.
    pub(crate) fn wake(&self) {
        *lock(&self.state.is_awake) = true;
        self.state.woken.notify_all();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Release);
        self.wake();
        if let Some(address) = self.address {
            // The thread waits in `accept`; whether it hears this does not matter at the end.
            let _ = TcpStream::connect(address);
        }
    }
}

fn datagrams(state: &State, mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>) {
    let mut buffer = vec![0; 1 << 16];
    while !state.is_over.load(Ordering::Acquire) {
        if let Ok(bytes) = receive(&mut buffer) {
            state.keep(buffer[..bytes].to_vec());
        }
    }
}

/// RFC 6587, 3.4.1: `MSG-LEN SP SYSLOG-MSG`, the length without a leading zero.
fn counted(stream: impl Read, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = Vec::new();
        stream.read_until(b' ', &mut length)?;
        let Some(digits) = length.strip_suffix(b" ") else { return Ok(()) };
        assert!(digits.first() != Some(&b'0') && digits.iter().all(u8::is_ascii_digit));
        let length = std::str::from_utf8(digits).expect("digits").parse().expect("a count");
        let mut message = vec![0; length];
        stream.read_exact(&mut message)?;
        state.keep(message);
    }
}

/// RFC 6587, 3.4.2: a line feed ends a message.
fn lines(stream: impl Read, state: &State) -> io::Result<()> {
    for line in BufReader::new(stream).split(b'\n') {
        state.keep(line?);
    }
    Ok(())
}

fn certificates(dir: &Path) -> Arc<ServerConfig> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(params, key);
    let leaf = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        (params.signed_by(&key, &issuer).expect("a certificate"), key)
    };
    let (client, client_key) = leaf("client");
    let write = |name: &str, text: String| {
        std::fs::write(dir.join(name), text).expect("the directory is ours");
    };
    write("ca.pem", authority.pem());
    write("client.pem", client.pem());
    write("client.key", client_key.serialize_pem());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.der().to_vec())).expect("an authority");
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("an authority was given");
    let (server, server_key) = leaf("localhost");
    let digest = Sha256::digest(server.der());
    let digits: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    write("server.sha256", digits.join(":"));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from(server.der().to_vec())],
            PrivateKeyDer::Pkcs8(server_key.serialize_der().into()),
        );
    Arc::new(config.expect("the key fits"))
}

/// An address on which nobody listens.
pub(crate) fn dead_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// How often threads look whether the test is over.
const TICK: Duration = Duration::from_millis(20);
