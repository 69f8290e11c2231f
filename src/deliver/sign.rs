//! Signatures of requests: HMAC of time and body, and AWS Signature Version 4.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::{Problem, Request, Secret, Signature, percent_bytes, problem};

/// How the requests of one call are signed, prepared once.
#[derive(Clone, Debug)]
pub(super) enum Signer {
    /// A header over time and body.
    Hmac { header: HeaderName, secret: Secret },
    /// Signature Version 4 over all that matters of a request.
    V4(V4),
}

#[derive(Clone, Debug)]
pub(super) struct V4 {
    key_id: String,
    secret: Secret,
    session: Option<HeaderValue>,
    region: String,
    service: String,
    signs_body: bool,
    /// Host and path of each endpoint.
    places: Vec<(String, String)>,
}

impl Signer {
    /// Prepares a signature for requests to these endpoints.
    pub(super) fn new(signature: Signature, endpoints: &[Uri]) -> Result<Self, Problem> {
        match signature {
            Signature::Hmac { header, secret } => {
                let header = HeaderName::from_bytes(header.as_bytes())
                    .map_err(|_| problem(&header, "is no header name"))?;
                Ok(Self::Hmac { header, secret })
            }
            Signature::V4 { key_id, secret, session, region, service, signs_body } => {
                let session = session.map(|token| {
                    let mut value = HeaderValue::from_str(token.expose())
                        .map_err(|_| problem(SESSION, "cannot stand in a header"))?;
                    value.set_sensitive(true);
                    Ok(value)
                });
                let place = |uri: &Uri| {
                    let authority = uri.authority().map_or("", |it| it.as_str());
                    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                    (host.to_owned(), uri.path().to_owned())
                };
                let places = endpoints.iter().map(place).collect();
                let session = session.transpose()?;
                Ok(Self::V4(V4 { key_id, secret, session, region, service, signs_body, places }))
            }
        }
    }

    /// Signs a request to an endpoint.
    pub(super) fn sign(&self, request: &mut Request, endpoint: usize, sent: u64) {
        match self {
            Self::Hmac { header, secret } => {
                let value = sensitive(&signed(secret, sent, &request.body));
                request.headers.insert(header.clone(), value);
                let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(sent));
                request.headers.insert(DATE, sensitive(&date));
            }
            Self::V4(v4) => v4.sign(request, endpoint, sent),
        }
    }
}

impl V4 {
    /// "Authenticating Requests: Using the Authorization Header" (Amazon S3 API Reference): the body
    /// is signed whole, or by its checksum alone. The checksum is sent in both cases: a bucket
    /// whose objects are locked takes none without ("Object Lock considerations").
    fn sign(&self, request: &mut Request, endpoint: usize, sent: u64) {
        let time = stamp(sent);
        let (host, base) = &self.places[endpoint];
        let headers = &mut request.headers;
        if !request.body.is_empty() {
            let checksum = BASE64.encode(crc_fast::crc32_iscsi(&request.body).to_be_bytes());
            headers.insert(HeaderName::from_static(CHECKSUM), sensitive(&checksum));
            headers.insert(HeaderName::from_static(ALGORITHM_NAME), sensitive("CRC32C"));
        }
        let digest = match self.signs_body || request.body.is_empty() {
            true => super::hex(&Sha256::digest(&request.body)),
            false => UNSIGNED.to_owned(),
        };
        headers.insert(HeaderName::from_static(CONTENT_SHA256), sensitive(&digest));
        headers.insert(HeaderName::from_static(AMZ_DATE), sensitive(&time));
        if let Some(session) = &self.session {
            headers.insert(HeaderName::from_static(SESSION), session.clone());
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        // A path of no more than the endpoint's own is that (`Endpoint::target`).
        let path = match path.is_empty() {
            true => base.clone(),
            false => format!("{}{path}", base.strip_suffix('/').unwrap_or(base)),
        };
        let (lines, names) = canonical_headers(headers, host);
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{digest}",
            request.method,
            canonical_path(&path),
            canonical_query(query),
        );
        let date = &time[..8];
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let text =
            format!("{ALGORITHM}\n{time}\n{scope}\n{}", super::hex(&Sha256::digest(&canonical)));
        let mut key = format!("AWS4{}", self.secret.expose()).into_bytes();
        for part in [date, &self.region, &self.service, "aws4_request", &text] {
            key = hmac(&key, &[part.as_bytes()]);
        }
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope},SignedHeaders={names},Signature={}",
            self.key_id,
            super::hex(&key)
        );
        headers.insert(http::header::AUTHORIZATION, sensitive(&authorization));
    }
}

/// "Host, the content type where there is one, and every x-amz-* header": one a line, and their
/// names.
fn canonical_headers(headers: &HeaderMap, host: &str) -> (String, String) {
    let is_signed =
        |name: &&HeaderName| **name == CONTENT_TYPE || name.as_str().starts_with("x-amz-");
    let mut pairs: Vec<(&str, String)> = vec![("host", host.to_owned())];
    for name in headers.keys().filter(is_signed) {
        let values = headers.get_all(name).iter();
        let values: Vec<String> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
            .collect();
        pairs.push((name.as_str(), values.join(",")));
    }
    pairs.sort();
    let lines = pairs.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = pairs.iter().map(|&(name, _)| name).collect();
    (lines, names.join(";"))
}

/// Each segment "URI-encoded once": as the receiver spells it after having decoded it.
fn canonical_path(path: &str) -> String {
    let segments: Vec<String> = path.split('/').map(spelled).collect();
    let path = segments.join("/");
    if path.is_empty() { "/".to_owned() } else { path }
}

/// The parameters, spelled alike and sorted.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            format!("{}={}", spelled(name), spelled(value))
        })
        .collect();
    pairs.sort();
    pairs.join("&")
}

/// A piece of a URL with each byte spelled in the one way that signatures know.
fn spelled(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(code) if byte == b'%' => {
                plain.push(code);
                rest = &after[2..];
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    percent_bytes(&plain)
}

/// The signature of a body, sent at this second: `t=SECONDS,v1=HEX`.
fn signed(secret: &Secret, sent: u64, body: &[u8]) -> String {
    let key = secret.expose().as_bytes();
    let mac = hmac(key, &[sent.to_string().as_bytes(), b".", body]);
    format!("t={sent},v1={}", super::hex(&mac))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// A second as ISO 8601 writes it without separators: `20260206T090003Z`.
fn stamp(sent: u64) -> String {
    let secs = i64::try_from(sent).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(secs).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month))
}

fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).expect("it is made of printable ASCII");
    value.set_sensitive(true);
    value
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CONTENT_SHA256: &str = "x-amz-content-sha256";
/// What stands in place of the digest of a body that is not signed.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// "The Base64 encoded, 32-bit CRC32C checksum of the object."
const CHECKSUM: &str = "x-amz-checksum-crc32c";
/// Names the checksum once more, which some stores ask for.
const ALGORITHM_NAME: &str = "x-amz-sdk-checksum-algorithm";
const AMZ_DATE: &str = "x-amz-date";
const SESSION: &str = "x-amz-security-token";

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Method;

    fn signer(host: &str, signs_body: bool) -> Signer {
        let signature = Signature::V4 {
            key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
            session: None,
            region: "us-east-1".to_owned(),
            service: "s3".to_owned(),
            signs_body,
        };
        let uri: Uri = format!("https://{host}").parse().expect("a URL");
        Signer::new(signature, &[uri]).expect("it is complete")
    }

    fn request(method: Method, path: &str, headers: &[(&'static str, &str)]) -> Request {
        let pairs = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("ASCII"))
        });
        Request {
            endpoint: 0,
            group: 0,
            method,
            path: path.to_owned(),
            headers: pairs.collect(),
            body: Bytes::new(),
            timeout: Duration::ZERO,
            needs_body: true,
        }
    }

    /// The examples of "Signature Calculations for the Authorization Header" (Amazon S3 API
    /// Reference), of 24 May 2013.
    #[test]
    fn signatures_are_those_of_the_published_examples() {
        const SENT: u64 = 1_369_353_600;
        let host = "examplebucket.s3.amazonaws.com";
        let text = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let mut put = request(
            Method::PUT,
            "/test$file.text",
            &[("x-amz-storage-class", "REDUCED_REDUNDANCY"), ("date", "")],
        );
        put.body = Bytes::from_static(b"Welcome to Amazon S3.");
        signer(host, true).sign(&mut put, 0, SENT);
        let found = put.headers["authorization"].to_str().expect("ASCII").to_owned();
        assert!(found.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;x-amz-checksum-crc32c;x-amz-content-sha256;x-amz-date;\
             x-amz-sdk-checksum-algorithm;x-amz-storage-class,Signature="
        ));
        assert_eq!(put.headers["x-amz-date"], "20130524T000000Z");
        assert_eq!(put.headers["x-amz-content-sha256"], text);
        let cases = [
            ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            (
                "/?max-keys=2&prefix=J",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ];
        for (path, signature) in cases {
            let mut get = request(Method::GET, path, &[]);
            signer(host, false).sign(&mut get, 0, SENT);
            let found = get.headers["authorization"].to_str().expect("ASCII").to_owned();
            assert_eq!(found.rsplit_once('=').expect("a signature").1, signature, "{path}");
        }
    }

    /// The check value of CRC-32C (RFC 3720, B.4, and every catalogue): of the digits 1 to 9.
    #[test]
    fn a_body_that_is_not_signed_is_known_by_its_checksum() {
        let mut put = request(Method::PUT, "/b/key", &[]);
        put.body = Bytes::from_static(b"123456789");
        let signatures = [true, false].map(|signs_body| {
            let mut put = put.clone();
            signer("localhost", signs_body).sign(&mut put, 0, 0);
            assert_eq!(put.headers["x-amz-checksum-crc32c"], "4waSgw==");
            assert_eq!(put.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD", !signs_body);
            put.headers["authorization"].clone()
        });
        assert_ne!(signatures[0], signatures[1]);
    }

    #[test]
    fn every_spelling_of_a_path_has_one_signature() {
        assert_eq!(canonical_path("/b/dt=1/a%20b%2f"), "/b/dt%3D1/a%20b%2F");
        assert_eq!(canonical_path("/b/dt%3D1/a%20b%2F"), "/b/dt%3D1/a%20b%2F");
        assert_eq!(canonical_path(""), "/");
        assert_eq!(canonical_query("b=2&a&c=x%2Fy/"), "a=&b=2&c=x%2Fy%2F");
    }
}
