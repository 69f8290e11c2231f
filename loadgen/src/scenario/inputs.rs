//! How late events are that come in by files, HTTP and sockets: from the moment they were due.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::bench::{Bench, ScenarioError};
use super::config::{self, Config, Exporter, Input};
use super::cost::{DRAIN_LIMIT, account_rows, write_failed};
use super::fakes::{FakeProcess, Role};
use super::late::wait_for;
use super::process::Process;
use super::table::{Row, Target};
use crate::generate::Stream;
use crate::produce::{Job, Progress, Rate, Source, produce};

/// Some events a second into each kind of input, one after the other.
pub(super) fn latency(bench: &Bench) -> Result<Vec<Row>, ScenarioError> {
    let mut rows = Vec::new();
    rows.extend(one(bench, "file")?);
    rows.extend(one(bench, "http")?);
    rows.extend(one(bench, "unix")?);
    Ok(rows)
}

fn one(bench: &Bench, kind: &'static str) -> Result<Vec<Row>, ScenarioError> {
    let part = bench.part(kind)?;
    let fake = FakeProcess::start(&part, Role { name: "elastic", ..Role::default() })?;
    let events_path = part.path("events.jsonl");
    let socket_path = part.path("events.sock");
    let address = free_address()?;
    let input = match kind {
        "file" => Input::File(events_path.clone()),
        "http" => Input::Http(address),
        _ => Input::Unix(socket_path.clone()),
    };
    let mut file = File::create(&events_path)
        .map_err(ScenarioError::io(format!("write {}", events_path.display())))?;
    let input = Config { input, ..Config::default() };
    let config = config::write(&part, &input, &[Exporter::plain(&fake)])?;
    let process = Process::shrike(&part, &config, &[], Stdio::null())?;
    let events = match kind {
        "file" => feed(&part, &fake, &mut file, &process)?,
        "http" => {
            let connection = answered(&process, || TcpStream::connect(address))?;
            feed(&part, &fake, &mut Posts { connection, address }, &process)?
        }
        _ => {
            let mut socket = answered(&process, || UnixStream::connect(&socket_path))?;
            feed(&part, &fake, &mut socket, &process)?
        }
    };
    wait_for(&fake, events, &process)?;
    process.terminate(DRAIN_LIMIT)?;
    let report = fake.finish()?;
    let ages = report.accepted;
    let target = Target::AtMost(500.0);
    let mut rows = vec![
        Row::aim(format!("{kind}: written -> accepted p99"), ages.p99_us / 1_000.0, "ms", target),
        Row::note(format!("{kind}: p50"), ages.p50_us / 1_000.0, "ms"),
        Row::note(format!("{kind}: p99.9"), ages.p999_us / 1_000.0, "ms"),
    ];
    rows.extend(account_rows(kind, events, &report));
    Ok(rows)
}

/// Feeds an input, first to warm up; returns how many events.
fn feed(
    bench: &Bench,
    fake: &FakeProcess,
    into: &mut impl Source,
    process: &Process,
) -> Result<u64, ScenarioError> {
    let rate = bench.settings.rate.unwrap_or(1_000.0);
    let mut stream = Stream::new(bench.settings.seed);
    let warm = (WARM_UP.as_secs_f64() * rate) as u64;
    let events = bench.events_at(rate);
    for events in [warm, events] {
        let job = Job { events, rate: Rate::PerSecond(rate), tick: TICK };
        produce(job, &mut stream, into, &Progress::default())
            .map_err(|error| write_failed(error, process))?;
        if events == warm {
            wait_for(fake, warm, process)?;
            fake.clear_latency()?;
        }
    }
    Ok(warm + events)
}

/// Lines sent as requests over one connection, each answered before the next.
struct Posts {
    connection: TcpStream,
    address: SocketAddr,
}

impl Source for Posts {
    fn take(&mut self, lines: &[u8]) -> io::Result<()> {
        let (address, length) = (self.address, lines.len());
        let mut request = format!(
            "POST /v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(lines);
        self.connection.write_all(&request)?;
        let mut answer = Vec::new();
        let mut piece = [0; 16 << 10];
        let (head, length) = loop {
            let read = self.connection.read(&mut piece)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&piece[..read]);
            if let Some(head) = memchr::memmem::find(&answer, b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
                let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length = length.and_then(|text| text.trim().parse::<usize>().ok());
                break (head + 4, length.ok_or(io::ErrorKind::InvalidData)?);
            }
        };
        let mut rest = vec![0; (head + length).saturating_sub(answer.len())];
        self.connection.read_exact(&mut rest)?;
        match answer.starts_with(b"HTTP/1.1 200 ") {
            true => Ok(()),
            false => Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
        }
    }
}

/// Connects as soon as shrike listens.
fn answered<T>(process: &Process, connect: impl Fn() -> io::Result<T>) -> Result<T, ScenarioError> {
    let begin = Instant::now();
    loop {
        match connect() {
            Ok(connection) => return Ok(connection),
            Err(error) if begin.elapsed() > DRAIN_LIMIT || process.has_ended() => {
                return Err(write_failed(error, process));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// An address on which nobody listens.
fn free_address() -> Result<SocketAddr, ScenarioError> {
    let found = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    found.map_err(ScenarioError::io("find a free port"))
}

/// Time between two writes.
const TICK: Duration = Duration::from_micros(250);
/// Files are found, connections and templates made in this time.
const WARM_UP: Duration = Duration::from_secs(1);
