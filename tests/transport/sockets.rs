//! The transport of bodies without answers: what is kept of a connection, and for how long.

use std::sync::Arc;
use std::time::Duration;

use shrike::deliver::{
    ConnectionSettings, SocketDestination, SocketTransport, TlsSettings, Transport as _,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

use crate::kit::{SOON, post, run, settings};

#[test]
fn a_name_of_datagrams_is_resolved_again() {
    run(async {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = receiver.local_addr().expect("an address");
        let age_max = Duration::from_millis(20);
        let connection = ConnectionSettings { age_max, ..settings() };
        let transport = transport(&format!("udp://{address}"), &connection);
        let sender = async || {
            transport.send(post("1 x")).await.expect("taken");
            receiver.recv_from(&mut [0; 8]).await.expect("it came").1
        };
        let first = sender().await;
        let another = async { while sender().await == first {} };
        timeout(Duration::from_secs(20), another).await.expect("a socket to the address of now");
    });
}

#[test]
fn a_connection_without_use_is_closed() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connection = ConnectionSettings { keep_alive: SOON, ..settings() };
        let transport = transport(&format!("tcp://{address}"), &connection);
        transport.send(post("1 x")).await.expect("taken");
        let (mut tcp, _) = listener.accept().await.expect("connected");
        let mut all = Vec::new();
        let ended = timeout(Duration::from_secs(20), tcp.read_to_end(&mut all)).await;
        ended.expect("it is closed").expect("in order");
        assert_eq!(all, b"1 x");
        transport.send(post("1 y")).await.expect("over another");
    });
}

fn transport(url: &str, connection: &ConnectionSettings) -> SocketTransport {
    let endpoints = [url.parse().expect("a URL")];
    let destination = SocketDestination::new(&endpoints, &TlsSettings::default(), connection);
    SocketTransport::share(&Arc::new(destination.expect("a destination")))
}
