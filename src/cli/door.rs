//! A door into the log for lines: each is opened once, repaired where it can be, and appended.

use shrike::config::Config;
use shrike::control::{Appended, Rejected};
use shrike::event::{Class, Frame, Opened, Opening, repair};
use shrike::log::{Appender, Log, Mark};

use super::position;

/// Checks lines and appends those that are events.
pub(crate) struct Door {
    opening: Opening,
    log: Log,
    appender: Appender,
    arena: Vec<u8>,
    opened: Opened,
    event_bytes_max: usize,
}

impl Door {
    /// Into this log.
    pub(crate) fn new(config: &Config, log: Log) -> Self {
        let appender = log.appender();
        let event_bytes_max = usize::try_from(config.pipeline.event_bytes_max);
        Self {
            opening: Opening::new(&config.opening_options()),
            event_bytes_max: event_bytes_max.unwrap_or(usize::MAX).min(appender.record_bytes_max()),
            appender,
            log,
            arena: Vec::new(),
            opened: Opened::default(),
        }
    }

    /// Appends every line that is an event, and returns once they are durable.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<Appended, String> {
        let received_ns = position::now();
        let mut appended = Appended::default();
        let mut last = None;
        for (number, line) in lines.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match self.record(line, received_ns) {
                Ok((record, mark)) => {
                    let record = record.as_deref().unwrap_or(line);
                    let offset = self.appender.append(record, mark);
                    last = Some(offset.map_err(|error| error.to_string())?);
                    appended.appended += 1;
                }
                Err(class) => {
                    appended.rejected += 1;
                    if appended.first_rejected.len() < REJECTED_MAX {
                        let line = number as u64 + 1;
                        let class = class.name().to_owned();
                        appended.first_rejected.push(Rejected { line, class });
                    }
                }
            }
        }
        if let Some(last) = last {
            self.appender.wait_durable(last).map_err(|error| error.to_string())?;
        }
        appended.durable = self.log.durable().bytes();
        Ok(appended)
    }

    /// The record of a line, where it is not the line itself, and what its frame says.
    fn record(&mut self, line: &[u8], received_ns: u64) -> Result<(Option<Vec<u8>>, Mark), Class> {
        if line.len() > self.event_bytes_max {
            return Err(Class::Oversize);
        }
        let mut frame = Frame { received_ns, ..Frame::default() };
        let mark = Mark { received_ns, checked: true, ..Mark::default() };
        let reject = match self.open(&frame, line) {
            Ok(()) => return Ok((None, mark)),
            Err(class) => class,
        };
        let Some(repaired) = repair(line, reject) else { return Err(reject) };
        frame.repaired = repaired.classes;
        match self.open(&frame, &repaired.text) {
            Ok(()) => Ok((Some(repaired.text), Mark { repaired: repaired.classes, ..mark })),
            Err(class) => Err(class),
        }
    }

    fn open(&mut self, frame: &Frame, record: &[u8]) -> Result<(), Class> {
        self.opening.begin(&mut self.arena);
        self.opening
            .open_exact(frame, record, &mut self.arena, &mut self.opened)
            .map_err(|reject| reject.class)
    }
}

/// Rejected lines that are listed; the others are counted.
pub(crate) const REJECTED_MAX: usize = 10;
