//! A fake object store: takes signed objects, and looks into them.
//!
//! Written from the Amazon S3 API Reference: PutObject, "Authenticating Requests (AWS Signature
//! Version 4)", "Error responses", "Creating object key names".

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use super::ids::{self, Taken};
use super::{Fault, Reply, Visit, percent_decode};
use crate::account::Book;
use crate::clock;

/// A fake store with one bucket.
#[derive(Debug)]
pub struct S3 {
    book: Arc<Book>,
    account: Account,
    objects: Objects,
}

/// Who may store, and where.
#[derive(Clone, Debug)]
pub struct Account {
    /// The bucket; it stands in the path, or is the first part of the host.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The key's id.
    pub key_id: String,
    /// The key.
    pub secret: String,
    /// The token that goes with the key, where it is a temporary one.
    pub token: Option<String>,
}

/// What is stored: the digest of each object by its key.
#[derive(Clone, Debug, Default)]
pub struct Objects(Arc<Mutex<BTreeMap<String, String>>>);

impl Objects {
    /// Every key.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

/// "The Base64 encoded, 32-bit CRC32C checksum of the object."
const CHECKSUM: &str = "x-amz-checksum-crc32c";

/// Why a request is refused: status, code, words.
type Refusal = (u16, &'static str, String);

impl S3 {
    /// A store that has nothing yet.
    #[must_use]
    pub fn new(book: Arc<Book>, account: Account) -> Self {
        Self { book, account, objects: Objects::default() }
    }

    /// What it stores, as it goes on.
    #[must_use]
    pub fn objects(&self) -> Objects {
        self.objects.clone()
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        match self.put(visit) {
            Ok(reply) => reply,
            Err((status, code, words)) => {
                self.book.note_problem(&format!("{code}: {words}"), visit.path.as_bytes());
                refusal(status, code, &words)
            }
        }
    }

    /// What the store says with a failing status.
    pub(super) fn refuse(status: u16) -> Reply {
        let code = match status {
            400 => "InvalidRequest",
            403 => "AccessDenied",
            404 => "NoSuchBucket",
            413 => "EntityTooLarge",
            429 | 503 => "SlowDown",
            _ => "InternalError",
        };
        refusal(status, code, "as the script says")
    }

    fn put(&self, visit: &Visit<'_>) -> Result<Reply, Refusal> {
        let digest = hex(&Sha256::digest(visit.body));
        self.authenticate(visit, &digest)?;
        if visit.method == http::Method::GET && visit.query == "list-type=2&max-keys=0" {
            return self.list(visit);
        }
        if visit.method != http::Method::PUT || !visit.query.is_empty() {
            return Err((405, "MethodNotAllowed", format!("{} {}", visit.method, visit.query)));
        }
        let key = self.key(visit)?;
        let checksum = visit.header(CHECKSUM);
        if checksum.is_empty() {
            let words = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object \
                         requests with Object Lock parameters";
            return Err((400, "InvalidRequest", words.to_owned()));
        }
        if checksum != BASE64.encode(crc32c::crc32c(visit.body).to_be_bytes()) {
            return Err((400, "BadDigest", "the CRC32C is not that of the body".to_owned()));
        }
        if visit.header("content-length").parse() != Ok(visit.body.len()) {
            return Err((411, "MissingContentLength", "the length is not that of the body".into()));
        }
        if visit.plan.fault == Some(Fault::Forget) {
            return Ok(Reply { status: 200, ..Reply::default() });
        }
        let plain = self.unpacked(visit, &key)?;
        let reply = |accepted| Reply {
            status: 200,
            headers: vec![("etag", format!("\"{}\"", &digest[..32]))],
            accepted,
            ..Reply::default()
        };
        let mut objects = self.objects.0.lock().unwrap_or_else(PoisonError::into_inner);
        match objects.insert(key.clone(), digest.clone()) {
            // The object takes the place of one that is the same.
            Some(before) if before == digest => return Ok(reply(Vec::new())),
            Some(_) => self.book.note_problem("an object was replaced by another", key.as_bytes()),
            None => {}
        }
        drop(objects);
        let mut taken = Taken::default();
        if !plain.ends_with(b"\n") {
            self.book.note_problem("the last line has no end", key.as_bytes());
        }
        for line in plain.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
            if key.contains(".ndjson") && !is_json {
                self.book.note_problem("a line is no JSON", line);
            }
            match ids::first(line) {
                Some(id) => taken.store(&self.book, id),
                None => taken.store_text(&self.book, line, "s3", &key),
            }
        }
        taken.note(&self.book);
        Ok(reply(taken.due))
    }

    /// Nothing of what the bucket has, for who asks whether it is there.
    fn list(&self, visit: &Visit<'_>) -> Result<Reply, Refusal> {
        let Account { bucket, .. } = &self.account;
        let is_ours = match visit.header("host").strip_prefix(&format!("{bucket}.")) {
            Some(_) => visit.path == "/",
            None => visit.path.strip_suffix('/').unwrap_or(visit.path) == format!("/{bucket}"),
        };
        if !is_ours {
            return Err((404, "NoSuchBucket", visit.path.to_owned()));
        }
        let found = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Name>{bucket}</Name>\
             <KeyCount>0</KeyCount><MaxKeys>0</MaxKeys></ListBucketResult>"
        );
        Ok(Reply { status: 200, body: found.into(), ..Reply::default() })
    }

    /// The key of the object, from a path with the bucket or without.
    fn key(&self, visit: &Visit<'_>) -> Result<String, Refusal> {
        let Account { bucket, .. } = &self.account;
        let host = visit.header("host");
        let path = percent_decode(&visit.path.replace('+', "%2B"));
        let key = match host.strip_prefix(&format!("{bucket}.")) {
            Some(_) => path.strip_prefix('/'),
            None => path.strip_prefix(&format!("/{bucket}/")),
        };
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return Err((404, "NoSuchBucket", path));
        };
        if key.len() > 1024 {
            return Err((400, "KeyTooLongError", format!("{} bytes", key.len())));
        }
        // "Avoid: period-only path segments, and anything that is not printable."
        let is_bad = |part: &str| part.is_empty() || part == "." || part == "..";
        if key.split('/').any(is_bad) || key.contains(char::is_control) {
            return Err((400, "InvalidURI", key.to_owned()));
        }
        Ok(key.to_owned())
    }

    /// What the object's name and its encoding say that it holds.
    fn unpacked(&self, visit: &Visit<'_>, key: &str) -> Result<Vec<u8>, Refusal> {
        let mut plain = Vec::new();
        let (encoding, read) = match key.rsplit_once('.').map_or("", |(_, end)| end) {
            "zst" => {
                let decoder = zstd::stream::read::Decoder::with_buffer(visit.body);
                ("zstd", decoder.and_then(|mut decoder| decoder.read_to_end(&mut plain)))
            }
            "gz" => {
                let mut decoder = flate2::bufread::MultiGzDecoder::new(visit.body);
                ("gzip", decoder.read_to_end(&mut plain))
            }
            _ => {
                plain.extend_from_slice(visit.body);
                ("", Ok(plain.len()))
            }
        };
        if visit.header("content-encoding") != encoding {
            self.book
                .note_problem("the name says another encoding than the header", key.as_bytes());
        }
        read.map(|_| plain).map_err(|error| (400, "InvalidRequest", error.to_string()))
    }

    /// "The signature must match the one that the service calculates."
    fn authenticate(&self, visit: &Visit<'_>, digest: &str) -> Result<(), Refusal> {
        let Account { region, key_id, secret, token, .. } = &self.account;
        let refuse = |code, words: &str| (403, code, words.to_owned());
        let header = visit.header("authorization");
        let fields = header.strip_prefix("AWS4-HMAC-SHA256 ").unwrap_or_default();
        let field = |name: &str| {
            let mut fields = fields.split(',').map(str::trim);
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
        };
        let credential: Vec<&str> = field("Credential").split('/').collect();
        let [id, date, scope_region, "s3", "aws4_request"] = credential[..] else {
            return Err(refuse("AccessDenied", "no credential scope"));
        };
        if id != key_id {
            return Err(refuse("InvalidAccessKeyId", id));
        }
        if scope_region != region {
            let words = format!("the region '{scope_region}' is wrong; expecting '{region}'");
            return Err((400, "AuthorizationHeaderMalformed", words));
        }
        if token.as_deref().is_some_and(|token| visit.header("x-amz-security-token") != token) {
            return Err((400, "InvalidToken", "another token".to_owned()));
        }
        // "You must include this header. Its value is the digest of the payload, or the literal."
        let payload = visit.header("x-amz-content-sha256");
        if payload != digest && payload != "UNSIGNED-PAYLOAD" {
            return Err((400, "XAmzContentSHA256Mismatch", digest.to_owned()));
        }
        if payload != digest && visit.header(CHECKSUM).is_empty() {
            self.book.note_problem("a body without signature and checksum", b"");
        }
        let time = visit.header("x-amz-date");
        let sent = seconds(time).ok_or_else(|| refuse("AccessDenied", "no x-amz-date"))?;
        if (clock::now_ns() / clock::NS_PER_SECOND).abs_diff(sent) > 15 * 60 {
            return Err(refuse("RequestTimeTooSkewed", time));
        }
        if !time.starts_with(date) {
            return Err(refuse("SignatureDoesNotMatch", "the scope is of another day"));
        }
        let names: Vec<&str> = field("SignedHeaders").split(';').collect();
        let is_needed =
            |name: &str| name == "host" || name == "content-type" || name.starts_with("x-amz-");
        let mut needed = visit.headers.keys().map(http::HeaderName::as_str);
        if let Some(name) = needed.find(|name| is_needed(name) && !names.contains(name)) {
            return Err(refuse("AccessDenied", &format!("{name} is not signed")));
        }
        let mut canonical = format!("{}\n{}\n{}\n", visit.method, uri(visit.path), visit.query);
        for name in &names {
            canonical += &format!("{name}:{}\n", visit.header(name).trim());
        }
        canonical += &format!("\n{}\n{payload}", names.join(";"));
        let scope = credential[1..].join("/");
        let hash = hex(&Sha256::digest(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
        let key = mac(format!("AWS4{secret}").as_bytes(), date);
        let key = mac(&mac(&mac(&key, region), "s3"), "aws4_request");
        if hex(&mac(&key, &text)) != field("Signature") {
            return Err(refuse("SignatureDoesNotMatch", &canonical));
        }
        Ok(())
    }
}

fn refusal(status: u16, code: &str, words: &str) -> Reply {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>{words}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>"
    );
    Reply { status, content_type: "application/xml", body: body.into(), ..Reply::default() }
}

/// "UriEncode every byte except A-Z, a-z, 0-9, hyphen, period, underscore and tilde; not slashes."
fn uri(path: &str) -> String {
    let mut spelled = String::new();
    for byte in percent_decode(&path.replace('+', "%2B")).bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                spelled.push(char::from(byte));
            }
            _ => spelled += &format!("%{byte:02X}"),
        }
    }
    spelled
}

/// Seconds since 1970 of `YYYYMMDDTHHMMSSZ`.
fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    if (date.len(), time.len()) != (8, 6) {
        return None;
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let (year, month, day) = (number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?);
    let (hour, minute, second) = (number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?);
    // Days before a month of a year that begins in March, so that a leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)?) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("19700101T000000Z"), Some(0));
        assert_eq!(seconds("20130524T000000Z"), Some(1_369_353_600));
        assert_eq!(seconds("20240229T235959Z"), Some(1_709_251_199));
        assert_eq!(seconds("2024-02-29T23:59:59Z"), None);
    }
}
