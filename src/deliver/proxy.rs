//! Ways through HTTP proxies: which destinations take one, and the tunnel's handshake.
//!
//! HTTP proxies only. SOCKS is left out: no platform asks for it, and a SOCKS-only network can run
//! an HTTP front. The connection to the proxy itself is plaintext; a tunnel to an https destination
//! is encrypted end to end inside it.

use std::net::{IpAddr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tls::io_words;
use super::{
    Applied, Proxy, TransportError, TransportErrorKind, TransportSetupError, percent_decoded,
};

/// Which destinations go through which proxy.
#[derive(Debug, Default)]
pub(super) struct ProxyRules {
    for_https: Option<ProxyServer>,
    for_http: Option<ProxyServer>,
    except: Vec<Exception>,
}

/// One proxy.
#[derive(Clone, Debug)]
pub(super) struct ProxyServer {
    /// Name or address.
    pub(super) host: String,
    /// TCP port.
    pub(super) port: u16,
    /// `Proxy-Authorization`, where the URL carries credentials.
    pub(super) authorization: Option<HeaderValue>,
}

/// A destination that is reached without the proxy.
#[derive(Debug, PartialEq, Eq)]
struct Exception {
    to: To,
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum To {
    Any,
    /// This name and all below it, lowercase.
    Domain(String),
    /// Addresses whose first bits are these.
    Network(IpAddr, u8),
}

impl ProxyRules {
    /// The rules of a setting; `variable` reads the environment, for [`Proxy::Env`].
    ///
    /// The lowercase variable goes before the uppercase one, and `ALL_PROXY` fills what the
    /// scheme's own leaves open. A URL in the configuration has no exceptions.
    pub(super) fn new(
        setting: &Proxy,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, TransportSetupError> {
        match setting {
            Proxy::None => Ok(Self::default()),
            Proxy::Url(url) => {
                let server = ProxyServer::parse("proxy", url.expose())?;
                Ok(Self {
                    for_https: Some(server.clone()),
                    for_http: Some(server),
                    except: Vec::new(),
                })
            }
            Proxy::Env => {
                let either = |lower: &str| {
                    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
                    set(lower).or_else(|| set(&lower.to_ascii_uppercase()))
                };
                let server = |name: &str| {
                    let named = either(name).map(|value| (name.to_owned(), value));
                    named
                        .or_else(|| either("all_proxy").map(|value| ("all_proxy".into(), value)))
                        .map(|(name, value)| ProxyServer::parse(&name, &value))
                        .transpose()
                };
                Ok(Self {
                    for_https: server("https_proxy")?,
                    for_http: server("http_proxy")?,
                    except: exceptions(&either("no_proxy").unwrap_or_default())?,
                })
            }
        }
    }

    /// The proxy for a destination, if it takes one.
    pub(super) fn server(&self, is_https: bool, host: &str, port: u16) -> Option<&ProxyServer> {
        let server = if is_https { &self.for_https } else { &self.for_http };
        let is_excepted = self.except.iter().any(|exception| exception.covers(host, port));
        server.as_ref().filter(|_| !is_excepted)
    }
}

impl ProxyServer {
    fn parse(key: &str, url: &str) -> Result<Self, TransportSetupError> {
        let wrong = |problem: &str| TransportSetupError::Value {
            key: key.to_owned(),
            problem: problem.to_owned(),
            expected: "http://[user:password@]host[:port]",
        };
        // Tools accept a bare host:port here, so people write it.
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = url.parse().map_err(|_| wrong("the value is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong("TLS to the proxy itself is not supported")),
            _ => return Err(wrong("only HTTP proxies are supported, not SOCKS")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("the URL has no host"))?;
        Ok(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authorization: basic(authority.as_str()),
        })
    }
}

/// Asks a proxy for a tunnel (RFC 9110 9.3.6) on a fresh connection to it.
pub(super) async fn tunnel(
    tcp: &mut TcpStream,
    server: &ProxyServer,
    host: &str,
    port: u16,
) -> Result<(), TransportError> {
    let broken = |error: &std::io::Error| refused(&io_words(error));
    // RFC 3986 3.2.2: an address of version 6 stands in brackets.
    let target = match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    };
    let mut ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(authorization) = &server.authorization {
        ask.extend_from_slice(b"Proxy-Authorization: ");
        ask.extend_from_slice(authorization.as_bytes());
        ask.extend_from_slice(b"\r\n");
    }
    ask.extend_from_slice(b"\r\n");
    tcp.write_all(&ask).await.map_err(|error| broken(&error))?;
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(refused("its answer has too long a head"));
        }
        // Byte by byte, so that nothing of what follows the head is taken from the tunnel. A
        // tunnel is made once per connection; its head is some hundred bytes.
        head.push(tcp.read_u8().await.map_err(|error| broken(&error))?);
    }
    match status(&head) {
        Some(200..=299) => Ok(()),
        Some(407) => Err(proxy_wants_credentials()),
        Some(status) => Err(refused(&format!("it answered {status} to CONNECT"))),
        None => Err(refused("its answer is not HTTP/1.1")),
    }
}

/// A proxy's 407 is about the way, not about the events: never a vendor's answer.
pub(super) fn proxy_wants_credentials() -> TransportError {
    refused("it wants credentials (407); write the right ones into the proxy URL")
}

/// `Basic` credentials (RFC 7617) from the user part of a URL's authority.
pub(super) fn basic(authority: &str) -> Option<HeaderValue> {
    let (user, _) = authority.rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut clear = zeroize::Zeroizing::new(percent_decoded(name));
    clear.push(b':');
    clear.extend(percent_decoded(password));
    let text = zeroize::Zeroizing::new(format!("Basic {}", STANDARD.encode(&*clear)));
    let mut value = HeaderValue::from_str(&text).expect("base64 is visible ASCII");
    value.set_sensitive(true);
    Some(value)
}

fn refused(why: &str) -> TransportError {
    TransportError {
        kind: TransportErrorKind::Connect,
        applied: Applied::No,
        detail: format!("the proxy: {why}"),
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

fn exceptions(list: &str) -> Result<Vec<Exception>, TransportSetupError> {
    list.split([',', ' ']).filter(|entry| !entry.is_empty()).map(Exception::parse).collect()
}

impl Exception {
    fn parse(entry: &str) -> Result<Self, TransportSetupError> {
        let wrong = || TransportSetupError::Value {
            key: "no_proxy".to_owned(),
            problem: format!("{entry:?} cannot be read"),
            expected: "*, a network (10.0.0.0/8), or a domain or address with or without :port",
        };
        if entry == "*" {
            return Ok(Self { to: To::Any, port: None });
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = bare(address).parse().map_err(|_| wrong())?;
            let bits: u8 = bits.parse().map_err(|_| wrong())?;
            if bits > width(address) {
                return Err(wrong());
            }
            return Ok(Self { to: To::Network(address, bits), port: None });
        }
        if let Ok(address) = bare(entry).parse::<IpAddr>() {
            return Ok(Self { to: To::Network(address, width(address)), port: None });
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| wrong())?)),
            None => (entry, None),
        };
        if let Ok(address) = bare(name).parse::<IpAddr>() {
            return Ok(Self { to: To::Network(address, width(address)), port });
        }
        let name = name.strip_prefix("*.").unwrap_or(name);
        let name = name.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
        if name.is_empty() || name.contains(['*', '[', ']', ':']) {
            return Err(wrong());
        }
        Ok(Self { to: To::Domain(name), port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|own| own != port) {
            return false;
        }
        match &self.to {
            To::Any => true,
            To::Domain(domain) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host.strip_suffix(domain.as_str())
                    .is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            To::Network(network, bits) => bare(host)
                .parse::<IpAddr>()
                .is_ok_and(|address| is_within(address, *network, *bits)),
        }
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (a.to_bits() ^ n.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits() ^ n.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

/// The longest head of an answer to CONNECT that is read.
const HEAD_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(variables: &[(&str, &str)]) -> ProxyRules {
        try_rules(variables).expect("readable variables")
    }

    fn try_rules(variables: &[(&str, &str)]) -> Result<ProxyRules, TransportSetupError> {
        ProxyRules::new(&Proxy::Env, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_chooses_by_scheme_and_case() {
        type Variables<'a> = &'a [(&'a str, &'a str)];
        // Variables, https?, the port of the proxy that is taken.
        let cases: [(Variables<'_>, bool, Option<u16>); 9] = [
            (&[], true, None),
            (&[("HTTPS_PROXY", "http://p:1")], true, Some(1)),
            (&[("HTTPS_PROXY", "http://p:1")], false, None),
            (&[("HTTP_PROXY", "http://p:2")], false, Some(2)),
            (&[("http_proxy", "http://p:3"), ("HTTP_PROXY", "http://p:2")], false, Some(3)),
            (&[("http_proxy", ""), ("HTTP_PROXY", "http://p:2")], false, Some(2)),
            (&[("ALL_PROXY", "p:4")], true, Some(4)),
            (&[("all_proxy", "p:4"), ("https_proxy", "p:5")], true, Some(5)),
            (&[("HTTPS_PROXY", "http://p")], true, Some(80)),
        ];
        for (variables, is_https, port) in cases {
            let rules = rules(variables);
            let server = rules.server(is_https, "siem.example", 443);
            assert_eq!(server.map(|server| server.port), port, "{variables:?}");
        }
    }

    #[test]
    fn no_proxy_takes_domains_networks_and_ports() {
        // NO_PROXY, host, port, whether the proxy is left out.
        let cases = [
            ("*", "a.example", 443, true),
            ("example", "a.example", 443, true),
            (".a.example", "a.example", 443, true),
            ("*.a.example", "b.A.Example", 443, true),
            ("a.example", "ba.example", 443, false),
            ("a.example:9200", "a.example", 9200, true),
            ("a.example:9200", "a.example", 443, false),
            ("x, 10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("10.0.0.0/8", "ten.example", 443, false),
            ("0.0.0.0/0", "8.8.8.8", 443, true),
            ("127.0.0.1", "127.0.0.1", 443, true),
            ("127.0.0.1:80", "127.0.0.1", 443, false),
            ("fd00::/8", "[fd01::1]", 443, true),
            ("[::1]:443", "[::1]", 443, true),
            ("[::1]:443", "[::1]", 80, false),
            ("::1", "[::1]", 80, true),
        ];
        for (list, host, port, is_left_out) in cases {
            let rules = rules(&[("https_proxy", "http://p:1"), ("NO_PROXY", list)]);
            assert_eq!(rules.server(true, host, port).is_none(), is_left_out, "{list} {host}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_its_text() {
        for value in [
            "socks5://u:hunter2@p:1",
            "https://u:hunter2@p",
            "http://u:hunter2@",
            "http:// hunter2",
        ] {
            let error = try_rules(&[("all_proxy", value)]).expect_err(value).to_string();
            assert!(error.contains("expected http://"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for list in ["10.0.0.0/33", "a:b", "a*b", "x/8"] {
            let variables = [("all_proxy", "p:1"), ("no_proxy", list)];
            assert!(try_rules(&variables).is_err(), "{list}");
        }
    }

    #[test]
    fn credentials_are_decoded_before_they_are_encoded() {
        let cases = [
            ("user:p%40ss@host:1", "user:p@ss"),
            ("user@host", "user:"),
            ("u%zz:%@host", "u%zz:%"),
            ("a:b:c@host", "a:b:c"),
        ];
        for (authority, clear) in cases {
            let value = basic(authority).expect("a user part");
            assert_eq!(value.as_bytes(), format!("Basic {}", STANDARD.encode(clear)).as_bytes());
            assert!(value.is_sensitive());
        }
        assert!(basic("host:1").is_none());
    }
}
