//! Cookies, kept so that a balancer sends a group's requests to one server.
//!
//! The subset of RFC 6265 that balancers use: name, value, `Path`, `Max-Age`, `Expires`, `Secure`.
//! A jar belongs to one endpoint, so cookies go back to the host that set them and `Domain` is
//! ignored; `HttpOnly` and `SameSite` are matters of browsers.

use std::time::{Duration, SystemTime};

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

/// The cookies of one endpoint and connection group.
#[derive(Default)]
pub(super) struct Jar {
    cookies: Vec<Cookie>,
}

struct Cookie {
    name: String,
    value: String,
    path: String,
    is_secure: bool,
    expires: Option<Instant>,
}

impl Jar {
    /// Adds the cookies that fit a request to its headers.
    pub(super) fn attach(&mut self, path: &str, is_https: bool, headers: &mut HeaderMap) {
        let now = Instant::now();
        self.cookies.retain(|cookie| cookie.expires.is_none_or(|at| at > now));
        let mut text = String::new();
        for cookie in self.cookies.iter().filter(|cookie| cookie.fits(path, is_https)) {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(&cookie.name);
            text.push('=');
            text.push_str(&cookie.value);
        }
        if let Ok(mut value) = HeaderValue::from_str(&text)
            && !text.is_empty()
        {
            value.set_sensitive(true);
            headers.append(COOKIE, value);
        }
    }

    /// Keeps the cookies that an answer sets, and forgets those it takes back.
    pub(super) fn learn(&mut self, path: &str, headers: &HeaderMap) {
        for value in headers.get_all(SET_COOKIE) {
            let Some(cookie) = value.to_str().ok().and_then(|text| Cookie::parse(text, path))
            else {
                continue;
            };
            self.cookies.retain(|own| own.name != cookie.name || own.path != cookie.path);
            if cookie.expires.is_some_and(|at| at <= Instant::now()) {
                continue;
            }
            if self.cookies.len() == COOKIES_MAX {
                self.cookies.remove(0);
            }
            self.cookies.push(cookie);
        }
    }
}

impl Cookie {
    fn parse(text: &str, request_path: &str) -> Option<Self> {
        if text.len() > COOKIE_BYTES_MAX {
            return None;
        }
        let mut parts = text.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() {
            return None;
        }
        let mut cookie = Self {
            name: name.to_owned(),
            value: value.to_owned(),
            path: default_path(request_path).to_owned(),
            is_secure: false,
            expires: None,
        };
        let mut age = None;
        let mut date = None;
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let (key, value) = (key.trim(), value.trim());
            if key.eq_ignore_ascii_case("path") && value.starts_with('/') {
                value.clone_into(&mut cookie.path);
            } else if key.eq_ignore_ascii_case("secure") {
                cookie.is_secure = true;
            } else if key.eq_ignore_ascii_case("max-age") {
                age = value.parse::<i64>().ok().or(age);
            } else if key.eq_ignore_ascii_case("expires") {
                date = httpdate::parse_http_date(value).ok().or(date);
            }
        }
        // RFC 6265 5.3: Max-Age goes before Expires.
        let left = match (age, date) {
            (Some(seconds), _) => Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
            (None, Some(date)) => {
                Some(date.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO))
            }
            (None, None) => None,
        };
        // Too far away to be written down is as good as never.
        cookie.expires = left.and_then(|left| Instant::now().checked_add(left));
        Some(cookie)
    }

    /// RFC 6265 5.1.4.
    fn fits(&self, path: &str, is_https: bool) -> bool {
        let is_below = path.strip_prefix(self.path.as_str()).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/')
        });
        is_below && (is_https || !self.is_secure)
    }
}

/// RFC 6265 5.1.4: the directory of the request's path.
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// Cookies of one jar: balancers set one or two.
const COOKIES_MAX: usize = 16;

/// The longest `Set-Cookie` that is kept (RFC 6265 6.1 asks for 4096 at least).
const COOKIE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a request to `path` carries after one to `/a/b` was answered with these.
    fn carried(set: &[&str], path: &str, is_https: bool) -> String {
        let mut jar = Jar::default();
        let mut headers = HeaderMap::new();
        for text in set {
            headers.append(SET_COOKIE, HeaderValue::from_str(text).expect("a header"));
        }
        jar.learn("/a/b", &headers);
        let mut sent = HeaderMap::new();
        jar.attach(path, is_https, &mut sent);
        let value = sent.get(COOKIE).map(|value| value.to_str().expect("text").to_owned());
        value.unwrap_or_default()
    }

    #[test]
    fn cookies_go_back_where_they_belong() {
        let past = "x=1; Path=/; Expires=Wed, 21 Oct 2015 07:28:00 GMT";
        let cases: [(&[&str], &str, bool, &str); 14] = [
            (&["AWSALB=abc; Path=/"], "/x", false, "AWSALB=abc"),
            (&["x=1; Path=/", "y=2; Path=/"], "/x", false, "x=1; y=2"),
            (&["x=1; Path=/", "x=2; Path=/"], "/x", false, "x=2"),
            (&["x=1"], "/a/c", false, "x=1"),
            (&["x=1"], "/c", false, ""),
            (&["x=1; Path=/ab"], "/abc", false, ""),
            (&["x=1; path=/; SECURE"], "/", false, ""),
            (&["x=1; path=/; SECURE"], "/", true, "x=1"),
            (&["x=1; Path=/; Max-Age=60; Domain=other; HttpOnly"], "/", false, "x=1"),
            (&["x=1; Path=/", "x=; Path=/; Max-Age=0"], "/", false, ""),
            (&["x=1; Path=/", past], "/", false, ""),
            (&["x=1; Path=/; Max-Age=9223372036854775807"], "/", false, "x=1"),
            (&["=1; Path=/", "nonsense", ""], "/", false, ""),
            (&["x=a=b; Path=/"], "/", false, "x=a=b"),
        ];
        for (set, path, is_https, expected) in cases {
            assert_eq!(carried(set, path, is_https), expected, "{set:?}");
        }
    }

    #[test]
    fn a_jar_is_bounded() {
        let set: Vec<String> = (0..40).map(|n| format!("c{n}=1; Path=/")).collect();
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let text = carried(&set, "/", false);
        assert_eq!(text.split("; ").count(), COOKIES_MAX);
        assert!(text.starts_with("c24=1") && text.ends_with("c39=1"), "{text}");
        let long = format!("x={}; Path=/", "v".repeat(COOKIE_BYTES_MAX));
        assert_eq!(carried(&[&long], "/", false), "");
    }
}
