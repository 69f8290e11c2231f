//! Making a connection: name, address, proxy, TLS, HTTP version.

use std::cell::Cell;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::dial::{dial, resolve};
use super::super::proxy::tunnel;
use super::super::reach::{permitted, permitted_by_name};
use super::super::{Applied, TransportError, TransportErrorKind};
use super::destination::{Destination, Endpoint};
use super::wire::Wire;

/// An HTTP version, as the connection speaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// What a connection that is being made is doing.
#[derive(Clone, Copy)]
enum Phase {
    Resolve,
    Connect,
    Proxy,
    Tls,
}

/// Makes a connection to an endpoint, within the time that the settings allow.
pub(super) async fn connect(
    destination: &Destination,
    endpoint: &Endpoint,
) -> Result<(Wire, Version), TransportError> {
    let phase = Cell::new(Phase::Resolve);
    let limit = destination.connection.connect_timeout;
    let making = make(destination, endpoint, &phase);
    timeout(limit, making).await.unwrap_or_else(|_| Err(too_slow(phase.get(), limit)))
}

async fn make(
    destination: &Destination,
    endpoint: &Endpoint,
    phase: &Cell<Phase>,
) -> Result<(Wire, Version), TransportError> {
    let tcp = reach(destination, endpoint, phase).await?;
    let Some(name) = &endpoint.tls_name else {
        return Ok((Wire::plain(tcp), endpoint.version.unwrap_or(Version::Http1)));
    };
    phase.set(Phase::Tls);
    let tls = destination.tls.as_ref().expect("terms were read, since an endpoint has https");
    let stream = tls.connect(name, tcp, endpoint.alpn()).await?;
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Version::Http2,
        _ => Version::Http1,
    };
    Ok((Wire::tls(stream), version))
}

/// A TCP connection to the endpoint, or a tunnel through its proxy.
async fn reach(
    destination: &Destination,
    endpoint: &Endpoint,
    phase: &Cell<Phase>,
) -> Result<TcpStream, TransportError> {
    let silence_max = destination.connection.timeout;
    let reach = destination.connection.reach;
    let Some(server) = &endpoint.proxy else {
        let addresses = permitted(resolve(&endpoint.host, endpoint.port).await?, reach)?;
        phase.set(Phase::Connect);
        return dial(&addresses, silence_max).await;
    };
    let of_proxy = |error: TransportError| TransportError {
        detail: format!("the proxy: {}", error.detail),
        ..error
    };
    permitted_by_name(&endpoint.host, reach)?;
    let addresses = resolve(&server.host, server.port).await.map_err(of_proxy)?;
    phase.set(Phase::Connect);
    let mut tcp = dial(&addresses, silence_max).await.map_err(of_proxy)?;
    if !endpoint.is_forwarded {
        phase.set(Phase::Proxy);
        tunnel(&mut tcp, server, &endpoint.host, endpoint.port).await?;
    }
    Ok(tcp)
}

fn too_slow(phase: Phase, limit: Duration) -> TransportError {
    let (kind, what) = match phase {
        Phase::Resolve => (TransportErrorKind::Dns, "no answer from the resolver"),
        Phase::Connect => (TransportErrorKind::Connect, "no connection"),
        Phase::Proxy => (TransportErrorKind::Connect, "no tunnel from the proxy"),
        Phase::Tls => (TransportErrorKind::TlsIo, "no TLS handshake"),
    };
    let detail = format!("{what} within {} ms", limit.as_millis());
    TransportError { kind, applied: Applied::No, detail }
}
