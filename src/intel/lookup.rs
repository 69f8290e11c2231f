//! Values as they are compared, and the table that finds them.
//!
//! A table is built once and never changed: whoever asks holds one, and an update is another one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use url::{Host, Position, Url};

use super::pattern::{Sign, SignKind};

/// A value as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A domain and what lies below it: small letters, ASCII, no dot at its end.
    Domain(String),
    /// Only what lies below a domain.
    Below(String),
    /// The addresses that begin with so many bits; a whole address has them all.
    Prefix(Prefix),
    /// A URL without what changes nothing of where it leads.
    Url(String),
    /// A hash in small hexadecimal digits.
    FileHash(String),
    /// A file's name.
    FileName(String),
    /// A directory.
    Path(String),
}

/// The first bits of an address; an IPv4 address within IPv6 is an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    is_v4: bool,
    /// The bits, the first one highest; those behind the length are 0.
    bits: u128,
    len: u8,
}

/// Why a value of a feed is not looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// It is no value of its kind.
    Malformed,
    /// Everybody registers below it (<https://publicsuffix.org>), so it would match strangers.
    PublicSuffix,
    /// It is every address of its family.
    EveryAddress,
}

impl Refused {
    /// Its name as a label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "value_malformed",
            Self::PublicSuffix => "public_suffix",
            Self::EveryAddress => "every_address",
        }
    }
}

impl Key {
    /// The value of a sign as it is compared.
    ///
    /// # Errors
    /// When it is none of its kind, or would match what has nothing to do with it.
    pub fn new(sign: &Sign) -> Result<Self, Refused> {
        let value = sign.value.trim();
        let plain = match value {
            "" => Err(Refused::Malformed),
            text => Ok(text.to_owned()),
        };
        match sign.kind {
            SignKind::Domain => Self::domain(value),
            SignKind::Ip => Prefix::parse(value).map(Self::Prefix),
            SignKind::Url => {
                url(value).map(|it| Self::Url(it.into_owned())).ok_or(Refused::Malformed)
            }
            SignKind::FileHash => {
                hash(value).map(|it| Self::FileHash(it.into_owned())).ok_or(Refused::Malformed)
            }
            SignKind::FileName => plain.map(Self::FileName),
            SignKind::Path => plain.map(|path| Self::Path(without_slash(&path).to_owned())),
        }
    }

    fn domain(value: &str) -> Result<Self, Refused> {
        let key = Self::any_domain(value)?;
        match &key {
            // A name that is a suffix whole, known or not, such as `com` or `localhost`.
            Self::Domain(name) | Self::Below(name) if psl::suffix_str(name) == Some(name) => {
                Err(Refused::PublicSuffix)
            }
            _ => Ok(key),
        }
    }

    /// A domain that may also be a public suffix.
    pub(super) fn any_domain(value: &str) -> Result<Self, Refused> {
        let (name, is_below) = match value.strip_prefix('.') {
            Some(name) => (name, true),
            None => (value, false),
        };
        match host(name) {
            Some(Place::Domain(name)) if is_below => Ok(Self::Below(name.into_owned())),
            Some(Place::Domain(name)) => Ok(Self::Domain(name.into_owned())),
            // Feeds write addresses as domains now and then.
            Some(Place::Address(address)) if !is_below => Ok(Self::Prefix(Prefix::of(address))),
            _ => Err(Refused::Malformed),
        }
    }
}

impl Prefix {
    /// The prefix that is a whole address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(it) => Self { is_v4: true, bits: u128::from(it.to_bits()) << 96, len: 32 },
            IpAddr::V6(it) => Self { is_v4: false, bits: it.to_bits(), len: 128 },
        }
    }

    /// An address, or a prefix in CIDR notation; bits behind its length do not matter.
    ///
    /// # Errors
    /// When it is neither, or every address there is.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| Refused::Malformed)?;
        let whole = Self::of(address);
        let Some(len) = len else { return Ok(whole) };
        let is_digits = (1..=3).contains(&len.len()) && len.bytes().all(|it| it.is_ascii_digit());
        let mut len: u8 = len.parse().ok().filter(|_| is_digits).ok_or(Refused::Malformed)?;
        if address.is_ipv6() && whole.is_v4 {
            // A prefix of `::ffff:0:0/96` is one of IPv4.
            len = len.checked_sub(96).ok_or(Refused::Malformed)?;
        }
        match len {
            0 => Err(Refused::EveryAddress),
            len if len > whole.len => Err(Refused::Malformed),
            len => Ok(whole.cut(len)),
        }
    }

    fn cut(self, len: u8) -> Self {
        Self { bits: self.bits & (u128::MAX << (128 - u32::from(len))), len, ..self }
    }
}

/// What stands for a host.
enum Place<'a> {
    Domain(Cow<'a, str>),
    Address(IpAddr),
}

/// A host: an address by the parser of addresses, in brackets or not, else a name in ASCII.
fn host(text: &str) -> Option<Place<'_>> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Some(Place::Address(address));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    // First, since what follows takes as long as the text is.
    let is_long = name.len() > if name.is_ascii() { NAME_BYTES_MAX } else { UNICODE_BYTES_MAX };
    if is_long || name.is_empty() || name.starts_with('.') || name.contains("..") {
        return None;
    }
    if is_plain(name) {
        return Some(Place::Domain(Cow::Borrowed(name)));
    }
    match Host::parse(name).ok()? {
        Host::Domain(name) if name.len() > NAME_BYTES_MAX => None,
        Host::Domain(name) => Some(Place::Domain(Cow::Owned(name))),
        // Other spellings of an address, as browsers read them: 0x7f000001.
        Host::Ipv4(address) => Some(Place::Address(address.into())),
        Host::Ipv6(address) => Some(Place::Address(address.into())),
    }
}

/// Whether a name is as it is compared already: most are, and the parser need not copy them.
fn is_plain(name: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    let last = name.rsplit('.').next().unwrap_or(name);
    // A name that ends with a number is an address to the parser, and one with `xn--` may be wrong.
    name.bytes().all(fits)
        && last.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.contains("xn--")
}

/// A URL with a host as it is compared: without fragment, user and password, its host as [`host`]
/// has it, its path and query as [`spelled`] has them. Whoever is watched chooses the spelling.
fn url(text: &str) -> Option<Cow<'_, str>> {
    if host_of_plain(text).is_some() {
        return Some(Cow::Borrowed(text));
    }
    let mut url = Url::parse(text).ok().filter(Url::has_host)?;
    url.set_fragment(None);
    // Where one is refused the host is empty, and there is no user either.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    match url.host_str().and_then(host) {
        Some(Place::Domain(name)) => {
            let name = name.into_owned();
            url.set_host(Some(&name)).ok()?;
        }
        Some(Place::Address(address)) => url.set_ip_host(address.to_canonical()).ok()?,
        None => {}
    }
    let mut compared = url[..Position::BeforePath].to_owned();
    spelled(url.path(), Slashes::Merged, &mut compared);
    if let Some(query) = url.query() {
        compared.push('?');
        spelled(query, Slashes::Kept, &mut compared);
    }
    Some(Cow::Owned(compared))
}

/// What becomes of several slashes in a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slashes {
    /// One: servers of files take them for one.
    Merged,
    Kept,
}

/// Appends a part of a URL. "URIs that differ in the replacement of an unreserved character with
/// its corresponding percent-encoded US-ASCII octet are equivalent" (RFC 3986, 2.3); those that
/// stay have capital digits.
fn spelled(part: &str, slashes: Slashes, out: &mut String) {
    let (mut rest, start) = (part, out.len());
    while let Some(at) = rest.find(['%', '/']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let digits = from.get(1..3).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match (from.as_bytes()[0], byte) {
            (b'/', _) => {
                if slashes == Slashes::Kept || !out[start..].ends_with('/') {
                    out.push('/');
                }
                &from[1..]
            }
            (_, Some(byte)) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
                &from[3..]
            }
            (_, Some(byte)) => {
                out.push_str(&format!("%{byte:02X}"));
                &from[3..]
            }
            (_, None) => {
                out.push('%');
                &from[1..]
            }
        };
    }
    out.push_str(rest);
}

/// The host of a URL, as it is compared; addresses of IPv6 in brackets.
pub(super) fn host_of(text: &str) -> Option<Cow<'_, str>> {
    if let Some(host) = host_of_plain(text) {
        return Some(Cow::Borrowed(host));
    }
    let url = Url::parse(text).ok()?;
    url.host_str().filter(|host| !host.is_empty()).map(|host| Cow::Owned(host.to_owned()))
}

/// The host of a URL that the parser would leave as it is: most are, and need not be copied.
fn host_of_plain(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (host, path) = rest.split_at(rest.find('/')?);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/.?=&_~-,;:@+!$*()".contains(&byte);
    let is_host = !host.starts_with('.') && !host.contains("..") && is_plain(host);
    // A step that begins with a dot may be one to another directory, and an empty one is none.
    let is_path = !path.contains("/.") && !path.contains("//");
    (is_host && is_path && path.bytes().all(fits)).then_some(host)
}

fn hash(text: &str) -> Option<Cow<'_, str>> {
    let is_hex = || text.bytes().all(|it| it.is_ascii_hexdigit());
    let is_hash = matches!(text.len(), 32 | 40 | 64) && is_hex();
    let is_small = || !text.bytes().any(|it| it.is_ascii_uppercase());
    is_hash.then(|| match is_small() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.to_ascii_lowercase()),
    })
}

fn without_slash(path: &str) -> &str {
    match path.trim_end_matches(['/', '\\']) {
        "" => path,
        path => path,
    }
}

/// Finds what was put in under a key.
#[derive(Clone, Debug)]
pub struct Table<T> {
    domains: HashMap<String, T>,
    below: HashMap<String, T>,
    prefixes: HashMap<Prefix, T>,
    /// Lengths of prefixes that occur, of IPv4 and of IPv6, the longest first.
    lengths: [Vec<u8>; 2],
    urls: HashMap<String, T>,
    /// Bytes of the longest URL: what is longer is none of them.
    url_bytes_max: usize,
    hashes: HashMap<String, T>,
    names: Spellings<T>,
    paths: Spellings<T>,
}

/// What was put in under the names and directories of files. Windows tells neither letters apart
/// that differ in case alone, nor its two separators; other systems do.
#[derive(Clone, Debug)]
struct Spellings<T>(HashMap<String, Vec<(String, T)>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            domains: HashMap::new(),
            below: HashMap::new(),
            prefixes: HashMap::new(),
            lengths: [Vec::new(), Vec::new()],
            urls: HashMap::new(),
            url_bytes_max: 0,
            hashes: HashMap::new(),
            names: Spellings(HashMap::new()),
            paths: Spellings(HashMap::new()),
        }
    }
}

impl<T> Table<T> {
    /// A table of values by their keys; the last of equal keys stays.
    pub fn new(entries: impl IntoIterator<Item = (Key, T)>) -> Self {
        let mut table = Self::default();
        for (key, value) in entries {
            match key {
                Key::Domain(name) => table.domains.insert(name, value),
                Key::Below(name) => table.below.insert(name, value),
                Key::Url(url) => {
                    table.url_bytes_max = table.url_bytes_max.max(url.len());
                    table.urls.insert(url, value)
                }
                Key::FileHash(hash) => table.hashes.insert(hash, value),
                Key::FileName(name) => table.names.insert(name, value),
                Key::Path(path) => table.paths.insert(path, value),
                Key::Prefix(prefix) => {
                    let lengths = &mut table.lengths[usize::from(!prefix.is_v4)];
                    if !lengths.contains(&prefix.len) {
                        lengths.push(prefix.len);
                        lengths.sort_unstable_by(|a, b| b.cmp(a));
                    }
                    table.prefixes.insert(prefix, value)
                }
            };
        }
        table
    }

    /// What is known of a value, what fits it closest first.
    #[must_use]
    pub fn find(&self, kind: SignKind, value: &str) -> Vec<&T> {
        match kind {
            SignKind::Domain | SignKind::Ip => match host(value.trim()) {
                Some(Place::Domain(name)) => self.of_domain(&name),
                Some(Place::Address(address)) => self.of_address(address),
                None => Vec::new(),
            },
            SignKind::Url if self.urls.is_empty() => Vec::new(),
            SignKind::Url => url(value.trim()).map_or_else(Vec::new, |url| self.of_url(&url)),
            SignKind::FileHash => {
                hash(value.trim()).and_then(|hash| self.hashes.get(&*hash)).into_iter().collect()
            }
            SignKind::FileName => self.names.of(value, is_windows(value)).collect(),
            SignKind::Path => self.of_path(value),
        }
    }

    /// By the name itself, and by each name above it.
    fn of_domain(&self, name: &str) -> Vec<&T> {
        let mut found: Vec<&T> = self.domains.get(name).into_iter().collect();
        let mut rest = name;
        while let Some((_, above)) = rest.split_once('.') {
            found.extend(self.domains.get(above));
            found.extend(self.below.get(above));
            rest = above;
        }
        found
    }

    fn of_address(&self, address: IpAddr) -> Vec<&T> {
        let whole = Prefix::of(address);
        let lengths = &self.lengths[usize::from(!whole.is_v4)];
        lengths.iter().filter_map(|&len| self.prefixes.get(&whole.cut(len))).collect()
    }

    /// By the whole URL, without its query, and by each step of its path; never by the host alone,
    /// which serves others too.
    fn of_url(&self, url: &str) -> Vec<&T> {
        let is_short = url.len() <= self.url_bytes_max;
        let whole = if is_short { self.urls.get(url) } else { None };
        let mut found: Vec<&T> = whole.into_iter().collect();
        let path = url.split_once('?').map_or(url, |(path, _)| path);
        let behind_host = url.find("://").map_or(0, |at| at + 3);
        let Some(root) = path[behind_host..].find('/').map(|at| at + behind_host) else {
            return found;
        };
        let slashes = path[root + 1..].rmatch_indices('/').flat_map(|(at, _)| {
            let slash = root + 1 + at;
            [slash + 1, slash]
        });
        let mut last = 0;
        let ends = std::iter::once(path.len())
            .chain(slashes)
            .skip_while(|&end| end > self.url_bytes_max)
            .filter(|&end| std::mem::replace(&mut last, end) != end);
        let parts = ends.take(STEPS_MAX).map(|end| &path[..end]);
        let parts = parts.filter(|part| part.len() > root + 1 && *part != url);
        found.extend(parts.filter_map(|part| self.urls.get(part)));
        found
    }

    /// By the directory that it is in, and by its name.
    fn of_path(&self, path: &str) -> Vec<&T> {
        let is_windows = is_windows(path);
        let Some(at) = path.rfind(['/', '\\']) else {
            return self.names.of(without_drive(path), is_windows).collect();
        };
        let directory = without_slash(&path[..=at]);
        let name = &path[at + 1..];
        self.names.of(name, is_windows).chain(self.paths.of(directory, is_windows)).collect()
    }
}

impl<T> Spellings<T> {
    /// Puts in what is spelled so; the last of equal spellings stays.
    fn insert(&mut self, text: String, value: T) -> Option<T> {
        let others = self.0.entry(folded(&text)).or_default();
        match others.iter_mut().find(|(other, _)| *other == text) {
            Some((_, before)) => Some(std::mem::replace(before, value)),
            None => {
                others.push((text, value));
                None
            }
        }
    }

    /// What is spelled so, or may be.
    fn of(&self, text: &str, is_windows: bool) -> impl Iterator<Item = &T> {
        let is_empty = self.0.is_empty();
        let found = if is_empty { None } else { self.0.get(&folded(text)) };
        let found = found.into_iter().flatten();
        found.filter(move |(own, _)| is_windows || own == text).map(|(_, value)| value)
    }
}

/// Whether a path is one of Windows: it begins with a drive, or has a separator of its own.
fn is_windows(path: &str) -> bool {
    without_drive(path).len() < path.len() || path.contains('\\')
}

fn without_drive(path: &str) -> &str {
    match path.as_bytes() {
        [drive, b':', ..] if drive.is_ascii_alphabetic() => &path[2..],
        _ => path,
    }
}

fn folded(text: &str) -> String {
    text.to_lowercase().replace('\\', "/")
}

/// Bytes of a name, without the dot at its end (RFC 1035, 2.3.4: 255 with the lengths around it).
const NAME_BYTES_MAX: usize = 253;
/// Bytes of a name in other letters than ASCII, which may be more than what it becomes.
const UNICODE_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;
/// Beginnings of a URL that are looked for at most; longer paths are made to cost time.
const STEPS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use SignKind::{Domain, FileHash, FileName, Ip, Path, Url as Web};

    fn key(kind: SignKind, value: &str) -> Result<Key, Refused> {
        Key::new(&Sign { kind, value: value.to_owned() })
    }

    /// Whether the one finds the other.
    fn finds(kind: SignKind, value: &str, asked: SignKind, by: &str) -> bool {
        let table = Table::new([(key(kind, value).expect(value), ())]);
        !table.find(asked, by).is_empty()
    }

    #[test]
    fn a_value_is_found_by_what_it_stands_for() {
        let rows = [
            (Domain, "Evil.Example.", Domain, "evil.example", true),
            (Domain, "evil.example", Domain, "A.b.EVIL.example.", true),
            (Domain, "evil.example", Domain, "notevil.example", false),
            (Domain, "a.evil.example", Domain, "evil.example", false),
            (Domain, ".evil.example", Domain, "evil.example", false),
            (Domain, ".evil.example", Domain, "a.evil.example", true),
            (Domain, "b\u{fc}cher.example", Domain, "xn--bcher-kva.example", true),
            (Domain, "xn--bcher-kva.example", Domain, "B\u{dc}CHER.example", true),
            // A test by digits, dots and colons would call it an address.
            (Domain, "face.cafe", Domain, "www.face.cafe", true),
            (Domain, "198.51.100.7", Domain, "198.51.100.7", true),
            (Ip, "198.51.100.7", Ip, "198.51.100.7", true),
            (Ip, "198.51.100.7", Domain, "198.51.100.7", true),
            (Ip, "198.51.100.7", Ip, "::ffff:198.51.100.7", true),
            (Ip, "::ffff:198.51.100.7", Ip, "198.51.100.7", true),
            (Ip, "::ffff:198.51.100.0/120", Ip, "198.51.100.7", true),
            (Ip, "198.51.100.9/24", Ip, "198.51.100.7", true),
            (Ip, "198.51.100.0/24", Ip, "198.51.101.7", false),
            (Ip, "2001:db8::/32", Ip, "[2001:db8:1::2]", true),
            (Ip, "2001:db8::/32", Ip, "2001:db9::", false),
            (Ip, "32.1.13.184/32", Ip, "2001:db8::", false),
            (Web, "HTTP://Evil.Example:80/a#x", Web, "http://evil.example/a", true),
            (Web, "http://evil.example/a", Web, "http://x:y@evil.example/a", true),
            (Web, "http://x@evil.example/a", Web, "http://evil.example/a", true),
            (Web, "http://evil.example/a", Web, "http://Evil.Example./a", true),
            (Web, "http://evil.example./a", Web, "http://evil.example:80/a", true),
            (Web, "http://198.51.100.7/a", Web, "http://[::ffff:198.51.100.7]/a", true),
            (Web, "http://[::ffff:c633:6407]/a", Web, "http://198.51.100.7./a", true),
            (Web, "http://evil.example/a.sh", Web, "http://evil.example/%61%2Esh", true),
            (Web, "http://evil.example/%7ea%2fb", Web, "http://evil.example/~a%2Fb", true),
            (Web, "http://evil.example/a%2fb", Web, "http://evil.example/a/b", false),
            (Web, "http://evil.example/a/b", Web, "http://evil.example//a///b", true),
            (Web, "http://evil.example/a?u=b//c", Web, "http://evil.example/a?u=b/c", false),
            (Web, "http://evil.example/%", Web, "http://evil.example/%", true),
            (Web, "ssh://Evil.Example./a", Web, "ssh://evil.example/a", true),
            (Web, "http://evil.example/a", Web, "http://evil.example:8080/a", false),
            (Web, "http://evil.example/a", Web, "http://evil.example/a/b?c=d", true),
            (Web, "http://evil.example/a/", Web, "http://evil.example/a/b", true),
            (Web, "http://evil.example/a", Web, "http://evil.example/a?c=d", true),
            (Web, "http://evil.example/a?c=d", Web, "http://evil.example/a?c=d", true),
            (Web, "http://evil.example/a?c=d", Web, "http://evil.example/a", false),
            (Web, "http://evil.example/a", Web, "http://evil.example/ab", false),
            (Web, "http://evil.example/a", Web, "http://evil.example/", false),
            // The host serves others too.
            (Web, "http://evil.example/", Web, "http://evil.example/a", false),
            (Web, "http://evil.example/", Web, "http://evil.example", true),
            (Web, "http://evil.example/a", Domain, "evil.example", false),
            (FileHash, &"AB".repeat(32), FileHash, &"ab".repeat(32), true),
            (FileHash, &"ab".repeat(16), FileHash, &"ab".repeat(32), false),
            (FileName, "evil.sh", FileName, "evil.sh", true),
            (FileName, "evil.sh", Path, "/tmp/evil.sh", true),
            (FileName, "evil.sh", Path, "/tmp/not-evil.sh", false),
            (FileName, "evil.exe", Path, r"C:\Temp\evil.exe", true),
            (FileName, "Evil.EXE", Path, r"C:\Temp\evil.exe", true),
            (FileName, "evil.exe", Path, "c:EVIL.exe", true),
            (FileName, "evil.sh", Path, "/tmp/Evil.sh", false),
            (FileName, "evil.sh", FileName, "Evil.sh", false),
            (Path, r"C:\Temp\", Path, r"c:\temp\a", true),
            (Path, r"C:\Temp", Path, "c:/TEMP/a", true),
            (Path, "/tmp/x", Path, "/tmp/X/a", false),
            (Path, "/tmp/x/", Path, "/tmp/x/a", true),
            (Path, "/tmp/x", Path, "/tmp/xa", false),
            (Path, "/", Path, "/a", true),
            (Path, "/", Path, "/a/b", false),
        ];
        for (kind, value, asked, by, expected) in rows {
            assert_eq!(finds(kind, value, asked, by), expected, "{value} by {by}");
        }
    }

    #[test]
    fn what_would_match_strangers_is_refused() {
        use Refused::{EveryAddress, Malformed, PublicSuffix};
        let rows = [
            (Domain, "com", PublicSuffix),
            (Domain, "co.uk", PublicSuffix),
            (Domain, ".co.uk", PublicSuffix),
            (Domain, "github.io", PublicSuffix),
            (Domain, "localhost", PublicSuffix),
            (Domain, "", Malformed),
            (Domain, ".", Malformed),
            (Domain, "a..b.example", Malformed),
            (Domain, "a b.example", Malformed),
            (Domain, "http://a.example/", Malformed),
            (Ip, "0.0.0.0/0", EveryAddress),
            (Ip, "::/0", EveryAddress),
            (Ip, "::ffff:0.0.0.0/96", EveryAddress),
            (Ip, "1.2.3.4/33", Malformed),
            (Ip, "1.2.3.4/+8", Malformed),
            (Ip, "1.2.3", Malformed),
            (Ip, "face.cafe", Malformed),
            (Web, "evil.example/a", Malformed),
            (Web, "mailto:a@b.example", Malformed),
            (FileHash, "SHA-256", Malformed),
            (FileHash, "abc", Malformed),
            (FileName, " ", Malformed),
        ];
        for (kind, value, expected) in rows {
            assert_eq!(key(kind, value), Err(expected), "{value}");
        }
    }

    /// Each name above it would be looked up otherwise, and each of them is as long.
    #[test]
    fn what_is_too_long_for_a_name_is_none() {
        // An even number of bytes.
        let below = |bytes: usize| "a.".repeat((bytes - 12) / 2) + "evil.example";
        let long = below(1 << 20);
        let rows = [
            (format!("b{}", below(252)), true),
            (format!("b{}.", below(252)), true),
            (format!("bb{}", below(252)), false),
            (format!("BB{}", below(252)), false),
            (format!("b\u{fc}{}", below(248)), false),
            (long.clone(), false),
            (long.to_uppercase(), false),
            (format!("\u{fc}.{long}"), false),
        ];
        for (name, expected) in rows {
            assert_eq!(finds(Domain, "evil.example", Domain, &name), expected, "{}", name.len());
            let url = format!("http://{name}/a");
            assert!(!finds(Web, "http://evil.example/a", Web, &url), "{}", name.len());
        }
        let table = Table::new([(key(Web, "http://evil.example/a").expect("a URL"), ())]);
        let url = format!("http://evil.example/a/{}", "b/".repeat(1 << 19));
        assert_eq!(table.find(Web, &url).len(), 1, "whatever follows what is listed");
    }

    #[test]
    fn what_is_compared_as_it_is_is_not_copied() {
        let usual = "https://files.example/a/b-1.sh?c=d&e=f";
        assert!(matches!(url(usual), Some(Cow::Borrowed(_))));
        assert!(matches!(host_of(usual), Some(Cow::Borrowed("files.example"))));
        assert!(matches!(host("files.example"), Some(Place::Domain(Cow::Borrowed(_)))));
    }

    #[test]
    fn what_fits_closest_comes_first() {
        let ip = |text| key(Ip, text).expect("a prefix");
        let table =
            Table::new([(ip("10.0.0.0/8"), 8), (ip("10.1.0.0/16"), 16), (ip("10.1.2.3"), 32)]);
        assert_eq!(table.find(Ip, "10.1.2.3"), [&32, &16, &8]);
        let name = |text| key(Domain, text).expect("a domain");
        let table = Table::new([(name("b.example"), 2), (name("a.b.example"), 3)]);
        assert_eq!(table.find(Domain, "x.a.b.example"), [&3, &2]);
    }

    proptest! {
        /// As a plain comparison of bits says.
        #[test]
        fn a_prefix_finds_what_begins_with_it(
            net: u32,
            len in 1_u32..=32,
            address: u32,
            near: bool,
        ) {
            let address = if near { net ^ (address >> 8) } else { address };
            let dotted = std::net::Ipv4Addr::from_bits;
            let expected = (net ^ address).checked_shr(32 - len).unwrap_or(0) == 0;
            let prefix = format!("{}/{len}", dotted(net));
            prop_assert_eq!(finds(Ip, &prefix, Ip, &dotted(address).to_string()), expected);
        }

        #[test]
        fn a_plain_name_is_what_the_parser_makes_of_it(name in "[a-z0-9._-]{1,20}") {
            let is_whole = !name.starts_with('.') && !name.ends_with('.') && !name.contains("..");
            if is_whole && is_plain(&name) {
                prop_assert_eq!(Host::parse(&name), Ok(Host::Domain(name)));
            }
        }

        #[test]
        fn a_plain_url_is_what_the_parser_makes_of_it(
            url in "https?://[a-z0-9._-]{1,12}(/[a-zA-Z0-9/.?=&_~,;:@+!$*()-]{0,20})?",
        ) {
            if let Some(host) = host_of_plain(&url) {
                let parsed = Url::parse(&url);
                let parsed = parsed.as_ref().map(|it| (it.as_str(), it.host_str()));
                prop_assert_eq!(parsed, Ok((&*url, Some(host))));
            }
        }

        #[test]
        fn any_text_can_be_asked_for(text in "(\\PC{0,20}|[a-c./:?#\\[\\]%0-9-]{0,30})") {
            let table: Table<()> = Table::new([(Key::Domain("a.example".to_owned()), ())]);
            for kind in [Domain, Ip, Web, FileHash, FileName, Path] {
                let _either = table.find(kind, &text);
                // What can be looked for is found by itself.
                if let Ok(found) = key(kind, &text) {
                    let is_below = matches!(found, Key::Below(_));
                    let is_trimmed = text.trim() != text || text.ends_with(['/', '\\']);
                    let is_prefix = text.contains('/') && kind == Ip;
                    let is_path = kind == Path;
                    if !is_below && !is_trimmed && !is_prefix && !is_path {
                        let own = Table::new([(found, ())]);
                        prop_assert!(!own.find(kind, &text).is_empty(), "{:?} {}", kind, text);
                    }
                }
            }
        }
    }
}
