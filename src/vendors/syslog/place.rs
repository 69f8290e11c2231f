//! Where receivers are.

use http::Uri;

use crate::deliver::{Options, Problem};

/// The endpoints of the addresses, in order of preference.
pub(super) fn receivers(options: &Options) -> Result<Vec<Uri>, Problem> {
    let transport = options.text("transport").unwrap_or_else(|| "tcp".to_owned());
    let addresses = options.list("address");
    if addresses.is_empty() {
        return Err(wrong("a receiver is required, such as syslog.example:6514".to_owned()));
    }
    let is_lines = options.text("framing").as_deref() == Some("newline");
    if is_lines && !matches!(transport.as_str(), "tcp" | "unix") {
        let problem = match transport.as_str() {
            "tls" => "tls always counts octets (RFC 5425, 4.3)",
            _ => "is for streams; each datagram is one message",
        };
        return Err(Problem { key: "framing".to_owned(), problem: problem.to_owned() });
    }
    if transport == "udp" && options.number("max_message_bytes").is_some_and(|it| it > UDP_MAX) {
        let problem = format!("a datagram has at most {UDP_MAX} bytes");
        return Err(Problem { key: "max_message_bytes".to_owned(), problem });
    }
    // A local socket is of datagrams where nothing else is written, as /dev/log is.
    let transport = if is_lines && transport == "unix" { "unix+stream" } else { &transport };
    addresses.iter().map(|address| receiver(transport, address)).collect()
}

fn receiver(transport: &str, address: &str) -> Result<Uri, Problem> {
    let text = match transport {
        "unix" | "unix+stream" if address.starts_with('/') => {
            format!("{transport}://localhost{address}")
        }
        "unix" | "unix+stream" => {
            return Err(wrong(format!("`{address}` is no absolute path of a socket")));
        }
        _ => format!("{transport}://{}", with_port(transport, address)?),
    };
    text.parse().map_err(|_| wrong(format!("`{address}` is no host and port")))
}

/// The address with the port that is usual where none is written.
fn with_port(transport: &str, address: &str) -> Result<String, Problem> {
    let is_bare_v6 = !address.starts_with('[') && address.matches(':').count() > 1;
    let bracketed = if is_bare_v6 { format!("[{address}]") } else { address.to_owned() };
    let behind = bracketed.rsplit_once(']').map_or(bracketed.as_str(), |(_, behind)| behind);
    let (host, port) = match behind.rsplit_once(':') {
        None => (bracketed.as_str(), None),
        Some((_, port)) => (&bracketed[..bracketed.len() - port.len() - 1], Some(port)),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || !host.chars().all(is_host) {
        return Err(wrong(format!("`{address}` is no host and port")));
    }
    match port {
        // RFC 3195 and IANA: 601 for streams; RFC 5426 and RFC 5425 for the others.
        None => Ok(format!(
            "{host}:{}",
            match transport {
                "udp" => 514,
                "tls" => 6514,
                _ => 601,
            }
        )),
        Some(port) => match port.parse::<u16>() {
            Ok(1..) => Ok(format!("{host}:{port}")),
            _ => Err(wrong(format!("`{address}`: expected a port from 1 to 65535"))),
        },
    }
}

fn wrong(problem: String) -> Problem {
    Problem { key: "address".to_owned(), problem }
}

/// IPv4: 65,535 bytes of a packet without its header and that of UDP.
const UDP_MAX: u64 = 65_507;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_endpoints() {
        let cases = [
            ("udp", "logs.example", "udp://logs.example:514/"),
            ("tcp", "logs.example:1514", "tcp://logs.example:1514/"),
            ("tcp", "10.0.0.1", "tcp://10.0.0.1:601/"),
            ("tls", "logs.example", "tls://logs.example:6514/"),
            ("tls", "[::1]:7", "tls://[::1]:7/"),
            ("tls", "::1", "tls://[::1]:6514/"),
            ("unix", "/dev/log", "unix://localhost/dev/log"),
            ("unix+stream", "/run/log", "unix+stream://localhost/run/log"),
        ];
        for (transport, address, expected) in cases {
            let uri = receiver(transport, address).expect(address);
            assert_eq!(uri.to_string(), expected);
        }
        for (transport, address) in [
            ("tcp", ""),
            ("tcp", ":514"),
            ("tcp", "a b"),
            ("tcp", "host:0"),
            ("tcp", "host:x"),
            ("tcp", "https://host"),
            ("tcp", "user@host:1"),
            ("unix", "dev/log"),
        ] {
            assert!(receiver(transport, address).is_err(), "{address}");
        }
    }
}
