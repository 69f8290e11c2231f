//! A client as plain as can be, so that tests can send what no library would.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Auth, Elastic, Fake, Options, Rules, Splunk, Vendor};

/// Names and values.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Options of a fake that judges everything.
pub(crate) fn options(script: &str) -> Options {
    Options::playing(script).expect(script)
}

pub(crate) fn elastic(options: Options, auth: Auth) -> Fake {
    let book = Arc::new(Book::new("elastic"));
    let vendor = Vendor::Elastic(Elastic::new(Arc::clone(&book), auth));
    Fake::start(vendor, book, options).expect("a free port")
}

pub(crate) fn splunk(options: Options, rules: Rules) -> Fake {
    let book = Arc::new(Book::new("splunk"));
    let vendor = Vendor::Splunk(Splunk::new(Arc::clone(&book), rules));
    Fake::start(vendor, book, options).expect("a free port")
}

/// Sends one request on a connection of its own.
pub(crate) fn send(
    fake: &Fake,
    line: &str,
    headers: Headers<'_>,
    body: &[u8],
) -> io::Result<Answer> {
    let mut head = format!("{line} HTTP/1.1\r\nHost: fake\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut socket = TcpStream::connect(fake.addr())?;
    socket.write_all(head.as_bytes())?;
    socket.write_all(body)?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no answer"))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok(Answer {
        status: status.expect("a status line has a status"),
        head,
        body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned(),
    })
}
