//! A command's side of the socket.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{ANSWER_BYTES_MAX, Answered, Asked, Outcome};
use super::{
    APPEND_BYTES_MAX, Answer, Appended, Change, CursorStatus, Error, ReloadReport, Request, Rewind,
    Status, VERSION, socket,
};
use crate::intake::{Retried, WantedLines};
use crate::pipeline::{AlertChange, AlertList, Progress, Wanted};

/// A connection to the running process.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the process that works in this directory, if one is running.
    ///
    /// # Errors
    /// When there is a socket that cannot be used, such as another user's.
    pub fn connect(state_dir: &Path) -> Result<Option<Self>, Error> {
        let path = socket(state_dir);
        match reach(&path) {
            Ok(stream) => Ok(Some(Self { path, stream })),
            Err(error) if is_nobody(&error) => Ok(None),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// How the process is.
    ///
    /// # Errors
    /// When the process does not answer.
    pub fn status(&mut self) -> Result<Status, Error> {
        match self.ask(Request::Status, &[])? {
            Answer::Status(status) => Ok(status),
            _ => Err(self.unexpected()),
        }
    }

    /// Where an exporter is, or all of them.
    ///
    /// # Errors
    /// When there is no such exporter, or the process does not answer.
    pub fn cursors(&mut self, exporter: Option<&str>) -> Result<Vec<CursorStatus>, Error> {
        let exporter = exporter.map(str::to_owned);
        match self.ask(Request::Cursors { exporter }, &[])? {
            Answer::Cursors(cursors) => Ok(cursors),
            _ => Err(self.unexpected()),
        }
    }

    /// Begins a new pass of an exporter.
    ///
    /// # Errors
    /// When there is no such exporter or position, or the process does not answer.
    pub fn rewind(&mut self, exporter: &str, wanted: Rewind) -> Result<Vec<CursorStatus>, Error> {
        let (exporter, Rewind { to, really_alert }) = (exporter.to_owned(), wanted);
        match self.ask(Request::Rewind { exporter, to, really_alert }, &[])? {
            Answer::Cursors(cursors) => Ok(cursors),
            _ => Err(self.unexpected()),
        }
    }

    /// Begins to send dead letters of an exporter again.
    ///
    /// # Errors
    /// When there is no such exporter, a replay is running, or the process does not answer.
    pub fn replay(
        &mut self,
        exporter: &str,
        wanted: &Wanted,
        rate: Option<u32>,
    ) -> Result<Progress, Error> {
        let (exporter, wanted) = (exporter.to_owned(), wanted.clone());
        match self.ask(Request::Replay { exporter, wanted, rate }, &[])? {
            Answer::Replay(progress) => Ok(progress),
            _ => Err(self.unexpected()),
        }
    }

    /// How far the last replay of an exporter is.
    ///
    /// # Errors
    /// When there is no such exporter, or the process does not answer.
    pub fn replayed(&mut self, exporter: &str) -> Result<Progress, Error> {
        let exporter = exporter.to_owned();
        match self.ask(Request::Replayed { exporter }, &[])? {
            Answer::Replay(progress) => Ok(progress),
            _ => Err(self.unexpected()),
        }
    }

    /// Removes dead letters of an exporter for ever; returns how many.
    ///
    /// # Errors
    /// When there is no such exporter, or the process does not answer.
    pub fn purge(&mut self, exporter: &str, wanted: &Wanted) -> Result<u64, Error> {
        let (exporter, wanted) = (exporter.to_owned(), wanted.clone());
        match self.ask(Request::Purge { exporter, wanted }, &[])? {
            Answer::Purged(letters) => Ok(letters),
            _ => Err(self.unexpected()),
        }
    }

    /// Has the configuration read again.
    ///
    /// # Errors
    /// When it is wrong, and nothing has changed; when the process does not answer.
    pub fn reload(&mut self) -> Result<ReloadReport, Error> {
        match self.ask(Request::Reload, &[])? {
            Answer::Reloaded(report) => Ok(report),
            _ => Err(self.unexpected()),
        }
    }

    /// The configuration that is in effect, as YAML without secrets.
    ///
    /// # Errors
    /// When the process does not answer.
    pub fn config(&mut self) -> Result<String, Error> {
        match self.ask(Request::Config, &[])? {
            Answer::Config(yaml) => Ok(yaml),
            _ => Err(self.unexpected()),
        }
    }

    /// Changes how an exporter runs; returns how it is then, in a word.
    ///
    /// # Errors
    /// When there is no such exporter, or the process does not answer.
    pub fn change(&mut self, exporter: &str, change: Change) -> Result<String, Error> {
        let exporter = exporter.to_owned();
        match self.ask(Request::Change { exporter, change }, &[])? {
            Answer::Changed(state) => Ok(state),
            _ => Err(self.unexpected()),
        }
    }

    /// The open incidents of an exporter whose keys begin so, at most so many.
    ///
    /// # Errors
    /// When it keeps none, or the process does not answer.
    pub fn alerts(&mut self, exporter: &str, prefix: &str, limit: u32) -> Result<AlertList, Error> {
        let (exporter, prefix) = (exporter.to_owned(), prefix.to_owned());
        match self.ask(Request::Alerts { exporter, prefix, limit }, &[])? {
            Answer::Alerts(alerts) => Ok(alerts),
            _ => Err(self.unexpected()),
        }
    }

    /// Asks a destination for a change of the incidents with a key; returns how many have it.
    ///
    /// # Errors
    /// When it does not do it, or the process does not answer.
    pub fn alert(&mut self, exporter: &str, key: &str, change: AlertChange) -> Result<u64, Error> {
        let (exporter, key) = (exporter.to_owned(), key.to_owned());
        match self.ask(Request::Alert { exporter, key, change }, &[])? {
            Answer::Alert(incidents) => Ok(incidents),
            _ => Err(self.unexpected()),
        }
    }

    /// Appends whole lines, at most [`APPEND_BYTES_MAX`] bytes, and returns once they are durable.
    ///
    /// # Errors
    /// When the log cannot take them, or the process does not answer.
    pub fn append(&mut self, lines: &[u8]) -> Result<Appended, Error> {
        let bytes = u32::try_from(lines.len()).ok().filter(|&bytes| bytes <= APPEND_BYTES_MAX);
        let Some(bytes) = bytes else {
            return Err(Error::Refused(format!("more than {APPEND_BYTES_MAX} bytes in one line")));
        };
        match self.ask(Request::Append { bytes }, lines)? {
            Answer::Appended(appended) => Ok(appended),
            _ => Err(self.unexpected()),
        }
    }

    /// Appends refused lines that are events now, and takes them out of quarantine.
    ///
    /// # Errors
    /// When the log cannot take them, or the process does not answer.
    pub fn retry(&mut self, wanted: &WantedLines) -> Result<Retried, Error> {
        match self.ask(Request::Retry { wanted: wanted.clone() }, &[])? {
            Answer::Retried(retried) => Ok(retried),
            _ => Err(self.unexpected()),
        }
    }

    fn ask(&mut self, request: Request, records: &[u8]) -> Result<Answer, Error> {
        let line = self.exchange(request, records);
        let path = self.path.clone();
        let line = match line {
            Ok(line) if line.is_empty() => return Err(Error::Gone { path }),
            Err(source) if is_nobody(&source) => return Err(Error::Gone { path }),
            Err(source) if has_gone(&source) => return Err(Error::Gone { path }),
            Err(source) => return Err(Error::Io { path, source }),
            Ok(line) => line,
        };
        let answered: Answered = match serde_json::from_slice(&line) {
            Ok(answered) => answered,
            Err(error) => return Err(self.problem(format!("unreadable answer: {error}"))),
        };
        match answered.answer {
            Outcome::Error(text) => Err(Error::Refused(text)),
            Outcome::Ok(_) if answered.v != VERSION => {
                Err(self.problem(format!("protocol version {}, expected {VERSION}", answered.v)))
            }
            Outcome::Ok(answer) => Ok(answer),
        }
    }

    /// Asks and waits for the line that answers.
    ///
    /// A process closes what is quiet for long, and a command may wait for its own input for hours.
    /// A request that was not taken whole has done nothing, so that it is asked again.
    fn exchange(&mut self, request: Request, records: &[u8]) -> io::Result<Vec<u8>> {
        let mut asked = serde_json::to_vec(&Asked { v: VERSION, request })?;
        asked.push(b'\n');
        match self.tell(&asked, records) {
            Err(error) if has_gone(&error) => {}
            told => return told.and_then(|()| self.answer()),
        }
        // Why it closed, where it said so.
        let last = self.answer().unwrap_or_default();
        if !last.is_empty() {
            return Ok(last);
        }
        self.stream = reach(&self.path)?;
        self.tell(&asked, records)?;
        self.answer()
    }

    fn tell(&mut self, asked: &[u8], records: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(asked)?;
        stream.write_all(records)
    }

    fn answer(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.stream).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line)?;
        Ok(line)
    }

    fn unexpected(&self) -> Error {
        self.problem("an answer to another request".to_owned())
    }

    fn problem(&self, problem: String) -> Error {
        Error::Protocol { path: self.path.clone(), problem }
    }
}

fn reach(path: &Path) -> io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// Whether an error means that whoever listened is gone.
fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Whether an error means that no process listens.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// How long the process may think; a log that makes inputs wait makes `append` wait too.
const PATIENCE: Duration = Duration::from_secs(300);
