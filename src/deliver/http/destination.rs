//! Where requests go: endpoints, proxies and TLS terms, resolved once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;

use super::super::proxy::{ProxyRules, ProxyServer, basic};
use super::super::tls::{Tls, TransportSetupError, server_name};
use super::super::{ConnectionSettings, Http2, TlsSettings};
use super::TransportCounts;
use super::connect::Version;

/// An exporter's endpoints and the way to them, shared by the transports of all workers.
#[derive(Debug)]
pub struct Destination {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) connection: ConnectionSettings,
    pub(super) tls: Option<Tls>,
    pub(super) counts: Arc<TransportCounts>,
}

/// One endpoint; path, query and user part of its URL may be secrets.
pub(super) struct Endpoint {
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) scheme: Scheme,
    /// Host and port as the URL writes them, without credentials.
    pub(super) authority: Authority,
    /// The same, for `Host`.
    pub(super) host_header: HeaderValue,
    /// The name that the certificate must carry; none without TLS.
    pub(super) tls_name: Option<ServerName<'static>>,
    /// The way to it.
    pub(super) proxy: Option<ProxyServer>,
    /// Whether the proxy sees each request (RFC 9112 3.2.2) instead of giving a tunnel.
    pub(super) is_forwarded: bool,
    /// The HTTP version it speaks, where that is known beforehand; otherwise TLS tells.
    pub(super) version: Option<Version>,
    /// Whether it has asked for HTTP/1.1 instead of HTTP/2 (RFC 9113 7).
    pub(super) refuses_http2: AtomicBool,
    /// Credentials in the URL, for requests that carry none.
    pub(super) authorization: Option<HeaderValue>,
    path: String,
    query: Option<String>,
}

impl Destination {
    /// Resolves endpoints and settings, reads the TLS files and the proxy variables.
    pub fn new(
        endpoints: &[Uri],
        tls: &TlsSettings,
        connection: &ConnectionSettings,
    ) -> Result<Self, TransportSetupError> {
        let rules = ProxyRules::new(&connection.proxy, |name| std::env::var(name).ok())?;
        let parse = |(at, uri)| Endpoint::parse(at, uri, connection.http2, &rules);
        let endpoints: Vec<_> =
            endpoints.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(TransportSetupError::Value {
                key: "endpoints".to_owned(),
                problem: "there is none".to_owned(),
                expected: "at least one http or https URL",
            });
        }
        let is_encrypted = endpoints.iter().any(|endpoint| endpoint.tls_name.is_some());
        let tls = is_encrypted.then(|| Tls::load(tls)).transpose()?;
        Ok(Self { endpoints, connection: connection.clone(), tls, counts: Arc::default() })
    }

    /// What the transports to it did so far.
    #[must_use]
    pub fn counts(&self) -> &TransportCounts {
        &self.counts
    }
}

impl Endpoint {
    fn parse(
        at: usize,
        uri: &Uri,
        http2: Http2,
        rules: &ProxyRules,
    ) -> Result<Self, TransportSetupError> {
        // The URL itself may be a secret, so it is named by its position.
        let wrong = |problem: &str| TransportSetupError::Value {
            key: format!("endpoint {}", at + 1),
            problem: problem.to_owned(),
            expected: "an absolute http or https URL",
        };
        let full = uri.authority().ok_or_else(|| wrong("the URL has no host"))?;
        let scheme = uri.scheme().cloned().unwrap_or(Scheme::HTTP);
        let is_https = scheme == Scheme::HTTPS;
        if !is_https && scheme != Scheme::HTTP {
            return Err(wrong("the URL's scheme is neither http nor https"));
        }
        let plain = full.as_str().rsplit_once('@').map_or(full.as_str(), |(_, plain)| plain);
        let authority: Authority = plain.parse().map_err(|_| wrong("the URL has no host"))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let proxy = rules.server(is_https, &host, port).cloned();
        // HTTP/2 known beforehand (RFC 9113 3.3) needs a way that nobody interprets.
        let is_forwarded = proxy.is_some() && !is_https && http2 != Http2::H2c;
        let version = match (is_https, http2) {
            (true, Http2::Auto | Http2::H2c) => None,
            (false, Http2::H2c) => Some(Version::Http2),
            (_, Http2::Off) | (false, Http2::Auto) => Some(Version::Http1),
        };
        Ok(Self {
            tls_name: is_https.then(|| server_name(&host)).transpose()?,
            host_header: HeaderValue::from_str(plain)
                .map_err(|_| wrong("the host is not ASCII"))?,
            authorization: basic(full.as_str()),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            host,
            port,
            scheme,
            authority,
            proxy,
            is_forwarded,
            version,
            refuses_http2: AtomicBool::new(false),
        })
    }

    /// The protocols that TLS offers, best first.
    pub(super) fn alpn(&self) -> &'static [&'static [u8]] {
        let may_be_http2 = self.version.is_none() && !self.refuses_http2.load(Ordering::Relaxed);
        if may_be_http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] }
    }

    /// The target of a request: the endpoint's own path and query, with the request's after them.
    pub(super) fn target(&self, path: String) -> Option<PathAndQuery> {
        let base = self.path.strip_suffix('/').unwrap_or(&self.path);
        if base.is_empty() && self.query.is_none() && path.starts_with('/') {
            return PathAndQuery::try_from(path).ok();
        }
        let is_whole = path.is_empty() || path.starts_with('?');
        let base = if is_whole { &self.path } else { base };
        let mut target = format!("{base}{path}");
        if let Some(query) = &self.query {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(query);
        }
        PathAndQuery::try_from(target).ok()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        let uri: Uri = url.parse().expect("a URL");
        Endpoint::parse(0, &uri, Http2::Auto, &ProxyRules::default()).expect("an endpoint")
    }

    #[test]
    fn a_request_goes_below_the_endpoints_own_path() {
        let cases = [
            ("http://h", "/_bulk?a=b", "/_bulk?a=b"),
            ("http://h/", "/_bulk", "/_bulk"),
            ("http://h/es", "/_bulk", "/es/_bulk"),
            ("http://h/es/", "/_bulk", "/es/_bulk"),
            ("http://h/hook/", "", "/hook/"),
            ("http://h/hook", "?x=1", "/hook?x=1"),
            ("http://h/hook?sig=s", "", "/hook?sig=s"),
            ("http://h/hook?sig=s", "/a?x=1", "/hook/a?x=1&sig=s"),
            ("http://h", "", "/"),
        ];
        for (url, path, target) in cases {
            assert_eq!(endpoint(url).target(path.to_owned()).expect(url).as_str(), target);
        }
        assert!(endpoint("http://h").target("/a b".to_owned()).is_none());
    }

    #[test]
    fn an_endpoint_is_taken_apart() {
        let cases = [
            ("https://es.example", "es.example", 443, "es.example"),
            ("http://u:p@es.example:9200/x", "es.example", 9200, "es.example:9200"),
            ("https://[::1]:8088", "::1", 8088, "[::1]:8088"),
        ];
        for (url, host, port, header) in cases {
            let endpoint = endpoint(url);
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port));
            assert_eq!(endpoint.host_header, header);
            assert_eq!(endpoint.authorization.is_some(), url.contains('@'));
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_by_position() {
        for url in ["/path", "ftp://hunter2.example", "https://h_unter2..example"] {
            let uri: Uri = url.parse().expect("a URI");
            let error = Endpoint::parse(1, &uri, Http2::Auto, &ProxyRules::default());
            let error = error.map(|_| ()).expect_err(url).to_string();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
