//! Rows of a SQLite table that another program fills, read while it does (`inputs.md` 5.3).
//!
//! The database is opened read-only and only for moments: a reader that stays would keep its owner
//! from shortening the write-ahead log.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction};
use tracing::{info, warn};

use super::door::DoorError;
use super::files::note;
use super::position::{Position, Positions, Print};
use super::shared::{Chunk, SharedDoor};
use super::stream::{Account, Stream};
use super::tail::{Around, Identity};
use crate::event::{quote, values};

/// What a table holds, and how its rows become records.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The dialect of its records.
    pub format: &'static str,
    /// The column that tells one row from all others.
    pub id: &'static str,
    /// The columns that are read, the members of a record in this order. One that an older version
    /// of the table does not have is left out.
    pub columns: &'static [(&'static str, Column)],
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// A text or a number.
    Plain,
    /// A time in UTC, whose zone the records of this dialect write as `Z`.
    Time,
    /// JSON as text.
    Json,
    /// Something encrypted, of which only is told that it is there.
    Sealed,
}

/// What one input of rows reads.
#[derive(Clone, Debug)]
pub struct RowsOptions {
    /// The database.
    pub path: PathBuf,
    /// The table.
    pub table: &'static Table,
    /// Whether what is in the table at the very first start is passed over.
    pub from_end: bool,
}

/// The rows of one table, and how far they were read.
#[derive(Debug)]
pub struct Rows {
    options: RowsOptions,
    name: String,
    positions: Arc<Positions>,
    open: Option<Open>,
    stream: Stream,
    text: Vec<u8>,
    gaps: u64,
    /// The last problem that was told, so that it is told once.
    told: Option<String>,
}

/// A database that is open.
#[derive(Debug)]
struct Open {
    connection: Connection,
    identity: Identity,
    place: Place,
    /// The statement that reads on.
    select: String,
    columns: Vec<(&'static str, Column)>,
}

/// The last row that was taken: its rowid, and the print of its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    rowid: i64,
    id: Option<Print>,
}

/// What a look found, before anything is appended.
struct Fetched {
    place: Place,
    rows: usize,
    /// Rows that were removed before they were read; `None` where nobody can know how many.
    missed: Option<u64>,
    has_gap: bool,
}

/// Why a look failed.
enum Failed {
    Door(DoorError),
    Database(rusqlite::Error),
    File(io::Error),
}

impl Rows {
    /// Looks for the table; nothing is read yet.
    #[must_use]
    pub fn new(options: RowsOptions, positions: Arc<Positions>) -> Self {
        let name = options.path.to_string_lossy().into_owned();
        let stream = Stream::new(&name, 0).with_format(Some(options.table.format));
        Self { options, name, positions, open: None, stream, text: Vec::new(), gaps: 0, told: None }
    }

    /// Reads what is new; returns how long nothing needs to be done.
    ///
    /// # Errors
    /// When what was read cannot be taken, and waiting does not help. A database that cannot be
    /// read is told once and tried again.
    pub fn step(
        &mut self,
        door: &SharedDoor,
        is_stopped: &AtomicBool,
    ) -> Result<Duration, DoorError> {
        let failed = match self.look(Around { door, is_stopped }) {
            Ok(has_read) => {
                if self.told.take().is_some() {
                    info!(input = self.name, "the database is read again");
                }
                return Ok(if has_read { Duration::ZERO } else { POLL_INTERVAL });
            }
            Err(Failed::Door(error)) => return Err(error),
            Err(Failed::Database(error)) => {
                // Its owner writes at this moment, or shortens its log.
                let is_busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
                if !is_busy {
                    self.open = None;
                }
                error.to_string()
            }
            Err(Failed::File(error)) => error.to_string(),
        };
        if self.told.as_ref() != Some(&failed) {
            warn!(input = self.name, error = failed, "cannot read the database; trying again");
            self.told = Some(failed);
        }
        Ok(RETRY_INTERVAL)
    }

    /// What became of all rows so far.
    #[must_use]
    pub fn account(&self) -> Account {
        Account { gaps: self.gaps, ..self.stream.account() }
    }

    /// Reads some rows; whether there were any, or something else is to be done at once.
    fn look(&mut self, around: Around<'_>) -> Result<bool, Failed> {
        let metadata = fs::metadata(&self.options.path);
        let present = metadata.map(|it| Identity::of(&it));
        let mut open = match (self.open.take(), &present) {
            (Some(open), _) => open,
            (None, Ok(identity)) => self.open(*identity, around)?,
            (None, Err(error)) => return Err(Failed::File(io::Error::from(error.kind()))),
        };
        let fetched = open.fetch(&self.options, &mut self.text);
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                self.open = Some(open);
                return Err(error.into());
            }
        };
        if fetched.has_gap {
            self.gaps += 1;
            warn!(
                input = self.name,
                rows = fetched.missed,
                "rows were removed before they were read"
            );
        }
        let has_rows = fetched.rows > 0;
        if has_rows {
            let position = open.position(&self.name, fetched.place);
            let chunk = Chunk { bytes: &self.text, is_rest: false };
            let brought = around
                .door
                .bring(&mut self.stream, chunk, around.is_stopped, |_, _| Some(position));
            if brought.map_err(Failed::Door)?.is_none() {
                // Stopped: nothing of it is known to be taken.
                self.open = Some(open);
                return Ok(false);
            }
        }
        open.place = fetched.place;
        // Another database at the path, once the old one is read to its end.
        let is_replaced = !has_rows && present.is_ok_and(|identity| identity != open.identity);
        if is_replaced {
            info!(input = self.name, "the path means another database now");
        } else {
            self.open = Some(open);
        }
        Ok(has_rows || is_replaced)
    }

    /// Opens the database and finds the place where reading goes on.
    fn open(&self, identity: Identity, around: Around<'_>) -> Result<Open, Failed> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.options.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let table = self.options.table;
        let columns = present_columns(&connection, table)?;
        if columns.is_empty() {
            let text = format!(
                "it has no table `{}` with the columns of a ledger; it is read as soon as it has",
                table.name
            );
            return Err(Failed::File(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        let names: Vec<String> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let select = format!(
            "SELECT rowid, {}, \"{}\" FROM \"{}\" WHERE rowid > ?1 ORDER BY rowid",
            names.join(", "),
            table.id,
            table.name
        );
        let known = self.positions.find(identity.device, identity.inode);
        let mut open = Open { connection, identity, place: Place::default(), select, columns };
        match known {
            Some(position) => {
                let rowid = i64::try_from(position.offset).unwrap_or(0);
                open.place = Place { rowid, id: position.last };
            }
            None if self.options.from_end && self.positions.named(&self.name).is_none() => {
                open.place = open.newest(table)?;
                note(&open.position(&self.name, open.place), around).map_err(Failed::Door)?;
            }
            None => {}
        }
        if self.options.from_end {
            // Another database at the path later is read from its start.
            let begun = Position { source: self.name.clone(), ..Position::default() };
            note(&begun, around).map_err(Failed::Door)?;
        }
        Ok(open)
    }
}

impl Open {
    fn position(&self, name: &str, place: Place) -> Position {
        Position {
            source: name.to_owned(),
            device: self.identity.device,
            inode: self.identity.inode,
            offset: u64::try_from(place.rowid).unwrap_or(0),
            last: place.id,
            ..Position::default()
        }
    }

    /// The last row that there is.
    fn newest(&self, table: &Table) -> rusqlite::Result<Place> {
        let (id, name) = (table.id, table.name);
        let text = format!("SELECT rowid, \"{id}\" FROM \"{name}\" ORDER BY rowid DESC LIMIT 1");
        let newest = self.connection.query_row(&text, [], |row| {
            Ok(Place { rowid: row.get(0)?, id: Some(print(row.get_ref(1)?)) })
        });
        Ok(newest.optional()?.unwrap_or_default())
    }

    /// Writes the next rows as lines, all from one moment of the database.
    fn fetch(&mut self, options: &RowsOptions, text: &mut Vec<u8>) -> rusqlite::Result<Fetched> {
        text.clear();
        let moment = self.connection.unchecked_transaction()?;
        let (place, is_lost) = found_again(&moment, options.table, self.place)?;
        let mut fetched = Fetched { place, rows: 0, missed: None, has_gap: is_lost };
        let mut statement = moment.prepare(&self.select)?;
        let mut rows = statement.query([place.rowid])?;
        while let Some(row) = rows.next()? {
            let rowid: i64 = row.get(0)?;
            // Each insertion has the next number: a hole is what its owner removed.
            let before = fetched.place.rowid;
            if before > 0 && rowid > before + 1 && fetched.rows == 0 {
                fetched.missed = u64::try_from(rowid - before - 1).ok();
                fetched.has_gap = true;
            }
            write_row(row, &self.columns, text)?;
            let id = print(row.get_ref(self.columns.len() + 1)?);
            fetched.place = Place { rowid, id: Some(id) };
            fetched.rows += 1;
            if text.len() >= CHUNK_BYTES {
                break;
            }
        }
        Ok(fetched)
    }
}

/// The place by the numbers that the rows have now, and whether it is gone.
///
/// Numbers change when the database is compacted or filled anew; the row's own id tells.
fn found_again(
    moment: &Transaction<'_>,
    table: &Table,
    place: Place,
) -> rusqlite::Result<(Place, bool)> {
    let Some(known) = place.id.filter(|_| place.rowid > 0) else { return Ok((place, false)) };
    let (id, name) = (table.id, table.name);
    let text = format!("SELECT \"{id}\" FROM \"{name}\" WHERE rowid = ?1");
    let there = moment.query_row(&text, [place.rowid], |row| Ok(print(row.get_ref(0)?)));
    match there.optional()? {
        Some(there) if there == known => return Ok((place, false)),
        Some(_) => {}
        None => {
            // Removed as the oldest, if others follow.
            let newest = format!("SELECT max(rowid) FROM \"{name}\"");
            let newest: Option<i64> = moment.query_row(&newest, [], |row| row.get(0))?;
            if newest.is_some_and(|newest| newest > place.rowid) {
                return Ok((place, false));
            }
        }
    }
    let text = format!("SELECT rowid, \"{id}\" FROM \"{name}\" ORDER BY rowid DESC");
    let mut statement = moment.prepare(&text)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if print(row.get_ref(1)?) == known {
            return Ok((Place { rowid: row.get(0)?, ..place }, false));
        }
    }
    Ok((Place::default(), true))
}

/// The columns of the table that are there.
fn present_columns(
    connection: &Connection,
    table: &Table,
) -> rusqlite::Result<Vec<(&'static str, Column)>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = statement.query_map([table.name], |row| row.get::<_, String>(0))?;
    let names = names.collect::<rusqlite::Result<Vec<String>>>()?;
    let is_there = |column: &&(&str, Column)| names.iter().any(|name| name == column.0);
    Ok(table.columns.iter().filter(is_there).copied().collect())
}

/// Writes a row as a line of JSON; what is null is left out.
fn write_row(
    row: &Row<'_>,
    columns: &[(&'static str, Column)],
    out: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    out.push(b'{');
    for (at, (name, column)) in columns.iter().enumerate() {
        let value = row.get_ref(at + 1)?;
        if value == ValueRef::Null {
            continue;
        }
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        quote(name.as_bytes(), out);
        out.push(b':');
        match (value, column) {
            (_, Column::Sealed) => out.extend_from_slice(b"true"),
            (ValueRef::Text(text), Column::Json) => write_json(text, out),
            (ValueRef::Text(text), Column::Time) => match text.strip_suffix(b"+00:00") {
                Some(start) => quote(&[start, b"Z"].concat(), out),
                None => quote(text, out),
            },
            (ValueRef::Text(text), Column::Plain) => quote(text, out),
            (ValueRef::Integer(number), _) => out.extend_from_slice(number.to_string().as_bytes()),
            (ValueRef::Real(number), _) if number.is_finite() => {
                out.extend_from_slice(number.to_string().as_bytes());
            }
            (ValueRef::Real(number), _) => quote(number.to_string().as_bytes(), out),
            (ValueRef::Blob(bytes), _) => quote(STANDARD.encode(bytes).as_bytes(), out),
            (ValueRef::Null, _) => {}
        }
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// Writes JSON as it is, on one line; what is none becomes a string.
fn write_json(text: &[u8], out: &mut Vec<u8>) {
    let whole = if str::from_utf8(text).is_ok() { values(text) } else { (Vec::new(), false) };
    match (whole.0.as_slice(), whole.1) {
        ([one], true) => {
            // Between its parts a line end means no more than a blank.
            let blank = |&byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
            out.extend(text[one.clone()].iter().map(blank));
        }
        _ => quote(text, out),
    }
}

fn print(value: ValueRef<'_>) -> Print {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Print::of(bytes),
        ValueRef::Integer(number) => Print::of(&number.to_be_bytes()),
        ValueRef::Real(number) => Print::of(&number.to_be_bytes()),
        ValueRef::Null => Print::of(b""),
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// How often the table is looked at: one look takes about 50 microseconds.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// After a look that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a look waits for the owner of the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of rows that are taken at once, and one row more.
const CHUNK_BYTES: usize = 256 << 10;
