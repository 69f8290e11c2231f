//! Whether what a configuration names in the file system is there and may be used.
//!
//! Loading looks at no path: a configuration means the same on every machine. `shrike check` and a
//! starting process look here, so that a mistake is told by its key before the system tells it.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::value::{Values, join};
use super::{At, Config, Error, Mistake, Mistakes, Wrong};

/// A path that a configuration names, and where it does.
#[derive(Clone, Debug)]
pub(super) struct Named {
    at: At,
    key: String,
    path: PathBuf,
    wants: Wants,
    /// Whether it stands there, and is no default.
    is_written: bool,
}

/// What has to be at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// A directory of ours with a socket in it, made where it is missing.
    State,
    /// A directory of ours, made where it is missing.
    Directory,
    /// A file of ours in a directory that is made where it is missing.
    Own,
    /// A file that we write, in a directory that is there.
    Written,
    /// A PEM file of certificates.
    Certificates,
    /// A PEM file of a private key.
    PrivateKey,
    /// A file or a pattern of files that are followed; they may come later.
    Followed,
    /// A file that is read once.
    Once,
    /// A SQLite database; it may come later.
    Database,
    /// A socket at which we listen.
    Socket,
}

impl Named {
    /// Whether both are one file that we write: lines of one would end up among those of the other.
    pub(super) fn is_file_of(&self, other: &Self) -> bool {
        [self.wants, other.wants] == [Wants::Written; 2] && self.path == other.path
    }

    /// A mistake at this path, which another key names already.
    pub(super) fn taken_by(&self, other: &Self) -> Mistake {
        let wrong = format!("`{}` at {} writes there already", other.key, other.at);
        Mistake::new(self.at.clone(), self.key.clone(), Wrong::Rule(wrong))
    }
}

/// What looking at the paths of a configuration found.
#[derive(Debug, Default)]
pub struct Looked {
    /// What keeps a path from being used, all of it.
    pub wrong: Option<Error>,
    /// What is missing and may still come, a line each.
    pub late: Vec<String>,
}

impl Looked {
    /// Whether a path of this exporter cannot be used.
    #[must_use]
    pub fn is_wrong_in(&self, place: &str) -> bool {
        let Some(Error::Wrong(mistakes)) = &self.wrong else { return false };
        let place = format!("{place}.");
        mistakes.iter().any(|mistake| mistake.path.starts_with(&place))
    }

    /// Everything, a line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let wrong = match &self.wrong {
            Some(Error::Wrong(mistakes)) => mistakes.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        wrong.into_iter().chain(self.late.iter().cloned())
    }
}

/// What is to be said of one path.
#[derive(Debug)]
enum Finding {
    /// It cannot be used.
    Wrong(String),
    /// It may still come.
    Late(String),
}

impl Config {
    /// Looks whether every path that this configuration names can be used by this user. Nothing is
    /// made or changed.
    #[must_use]
    pub fn look_at_paths(&self) -> Looked {
        look_at(&self.paths)
    }

    /// The same of those paths that another configuration does not name.
    #[must_use]
    pub fn look_at_paths_beyond(&self, other: &Self) -> Looked {
        let is_same = |one: &Named, it: &&Named| (&one.key, &one.path) == (&it.key, &it.path);
        let is_new = |it: &&Named| !other.paths.iter().any(|one| is_same(one, it));
        look_at(self.paths.iter().filter(is_new))
    }
}

impl Values {
    /// The path of a key, which is told by the place where the key is written.
    pub(super) fn named(&self, key: &str, path: &Path, wants: Wants) -> Named {
        let found = self.written.get(key);
        let at = found.map_or(&self.at, |found| &found.at).clone();
        let spelling = found.map_or(key, |found| found.spelling.as_str());
        let (key, path) = (join(&self.place, spelling), path.to_owned());
        Named { at, key, path, wants, is_written: found.is_some() }
    }
}

/// Looks at paths in this order.
fn look_at<'a>(paths: impl IntoIterator<Item = &'a Named>) -> Looked {
    let (mut looked, mut mistakes) = (Looked::default(), Mistakes::default());
    let mut unusable: Vec<&Path> = Vec::new();
    for Named { at, key, path, wants, is_written } in paths {
        // One mistake about the state directory says it for all that lies in it by itself.
        if !is_written && unusable.iter().any(|above| path.starts_with(above)) {
            continue;
        }
        let mistake = |text| Mistake::new(at.clone(), key.as_str(), Wrong::Rule(text));
        match look(path, *wants) {
            Ok(()) => {}
            Err(Finding::Wrong(text)) => {
                mistakes.add(mistake(text));
                unusable.push(path);
            }
            Err(Finding::Late(text)) => looked.late.push(mistake(text).to_string()),
        }
    }
    looked.wrong = (!mistakes.is_empty()).then(|| mistakes.into_error());
    looked
}

/// Whether a path is a pattern of paths.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

fn look(path: &Path, wants: Wants) -> Result<(), Finding> {
    let looked = match wants {
        Wants::State => directory(path).and_then(|()| socket_name(&path.join(CONTROL))),
        Wants::Directory => directory(path),
        Wants::Own => directory(folder(path)).and_then(|()| writable(path)),
        Wants::Written => there(folder(path)).and_then(|()| writable(path)),
        Wants::Certificates => readable(path).and_then(|()| certificates(path)),
        Wants::PrivateKey => readable(path).and_then(|()| private_key(path)),
        Wants::Once => readable(path),
        Wants::Socket => socket(path),
        Wants::Followed if is_pattern(path) => return late(path, fixed(path)),
        Wants::Followed => return late(path, path),
        Wants::Database => return late(path, path).and_then(|()| database(path)),
    };
    looked.map_err(Finding::Wrong)
}

/// A directory that can be written, or made.
fn directory(path: &Path) -> Result<(), String> {
    let found = path.ancestors().map(nonempty).find_map(|step| match fs::metadata(step) {
        Ok(metadata) => Some(Ok((step, metadata))),
        // A link to nothing stands in the way of what would be made.
        Err(_) if fs::symlink_metadata(step).is_ok_and(|it| it.is_symlink()) => {
            Some(Err(format!("{} is a link to nothing: make what it points to", step.display())))
        }
        Err(error) if is_missing(&error) => None,
        Err(error) => Some(Err(format!("{}: {error}; {PERMIT}", step.display()))),
    });
    let (nearest, metadata) = match found {
        Some(found) => found?,
        None => return Ok(()),
    };
    let is_there = nearest == nonempty(path);
    if !metadata.is_dir() {
        let text = format!("{} is no directory; name another place", nearest.display());
        return Err(if is_there { text } else { format!("cannot be made: {text}") });
    }
    let may = may(nearest, Access::WRITE_OK | Access::EXEC_OK, "written");
    may.map_err(|text| if is_there { text } else { format!("cannot be made: {text}") })?;
    // Left by a process of another user, it keeps this one out.
    let lock = path.join(LOCK);
    if lock.exists() { writable(&lock) } else { Ok(()) }
}

/// A directory that is there and can be written.
fn there(path: &Path) -> Result<(), String> {
    match fs::metadata(nonempty(path)) {
        Ok(_) => directory(path),
        Err(error) => {
            Err(format!("the directory {}: {error}; make it, or name another", path.display()))
        }
    }
}

/// A file that can be written, or is missing.
fn writable(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            Err(format!("{} is a directory; name a file in it", path.display()))
        }
        Ok(_) => may(path, Access::READ_OK | Access::WRITE_OK, "written"),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(format!("{}: {error}; {PERMIT}", path.display())),
    }
}

/// A file that is there and can be read.
fn readable(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            Err(format!("{} is a directory; name a file", path.display()))
        }
        Ok(_) => may(path, Access::READ_OK, "read"),
        Err(error) if is_missing(&error) => {
            Err(format!("{} is not there; put it there, or name another file", path.display()))
        }
        Err(error) => Err(format!("{}: {error}; {PERMIT}", path.display())),
    }
}

/// What is read once it is there: `known` is the part of the path that has to be.
fn late(path: &Path, known: &Path) -> Result<(), Finding> {
    let is_folder = known != path;
    match fs::metadata(nonempty(known)) {
        Ok(metadata) if is_folder => folder_of_pattern(known, &metadata),
        Ok(metadata) if metadata.is_dir() => {
            let dir = path.display();
            Err(format!("{dir} is a directory; name a file, or a pattern such as {dir}/*.jsonl"))
        }
        Ok(metadata) if !metadata.is_file() => Err(format!(
            "{} is no file that could be followed; a pipe is read with `follow: false`",
            path.display()
        )),
        Ok(_) => may(path, Access::READ_OK, "read"),
        Err(error) if is_missing(&error) => return Err(Finding::Late(missing(path, known))),
        Err(error) => Err(format!("{}: {error}; {PERMIT}", known.display())),
    }
    .map_err(Finding::Wrong)
}

fn folder_of_pattern(folder: &Path, metadata: &Metadata) -> Result<(), String> {
    match metadata.is_dir() {
        true => may(nonempty(folder), Access::READ_OK | Access::EXEC_OK, "searched"),
        false => Err(format!("{} is no directory; name another pattern", folder.display())),
    }
}

/// What is said of a path that is not there.
fn missing(path: &Path, known: &Path) -> String {
    let folder = if known == path { folder(path) } else { known };
    let whose = match fs::metadata(nonempty(folder)) {
        Ok(found) if found.is_dir() => String::new(),
        _ => format!(", nor is its directory {}", folder.display()),
    };
    format!("{} is not there{whose}; it is read as soon as it appears", path.display())
}

fn database(path: &Path) -> Result<(), Finding> {
    let head = File::open(path).and_then(|file| {
        let mut head = Vec::with_capacity(SQLITE.len());
        file.take(SQLITE.len() as u64).read_to_end(&mut head).map(|_| head)
    });
    // SQLite writes nothing before the first table is made.
    let is_one = head.is_ok_and(|head| head.is_empty() || head == SQLITE);
    if !is_one {
        return Err(Finding::Wrong(format!("{} is no SQLite database", path.display())));
    }
    let mut log = path.as_os_str().to_owned();
    log.push(WAL);
    let log = Path::new(&log);
    match log.exists() {
        true => may(log, Access::READ_OK, "read").map_err(Finding::Wrong),
        false => Ok(()),
    }
}

fn certificates(path: &Path) -> Result<(), String> {
    let found =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if !found.is_empty() => Ok(()),
        Ok(_) => Err(format!("{} holds no certificate in PEM form", path.display())),
        Err(error) => {
            Err(format!("{}: {error}; expected certificates in PEM form", path.display()))
        }
    }
}

fn private_key(path: &Path) -> Result<(), String> {
    let wrong = |error| format!("{}: {error}; expected a private key in PEM form", path.display());
    PrivateKeyDer::from_pem_file(path).map(drop).map_err(wrong)
}

/// Whether a socket can have this name.
fn socket_name(path: &Path) -> Result<(), String> {
    match path.as_os_str().len() {
        ..=SOCKET_BYTES_MAX => Ok(()),
        bytes => Err(format!(
            "the path of the socket {} has {bytes} bytes; at most {SOCKET_BYTES_MAX} are possible: \
             name a shorter one",
            path.display()
        )),
    }
}

fn socket(path: &Path) -> Result<(), String> {
    socket_name(path)?;
    there(folder(path))?;
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(format!("{} is there and is no socket; name another place", path.display()))
        }
        _ => Ok(()),
    }
}

/// Whether this user may do this with what is there.
fn may(path: &Path, how: Access, done: &str) -> Result<(), String> {
    access(path, how).map_err(|error| {
        let (path, user) = (path.display(), rustix::process::getuid().as_raw());
        let error = io::Error::from(error);
        let advice = match error.kind() {
            ErrorKind::ReadOnlyFilesystem => "mount the file system for writing",
            _ => PERMIT,
        };
        format!("{path} cannot be {done} by user {user}: {error}; {advice}")
    })
}

/// The folder of a pattern: what comes before its first part that varies.
fn fixed(pattern: &Path) -> &Path {
    let part = |path: &&Path| !is_pattern(path);
    pattern.ancestors().find(part).unwrap_or(Path::new(""))
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// The working directory has no name in relative paths.
fn nonempty(path: &Path) -> &Path {
    if path.as_os_str() == OsStr::new("") { Path::new(".") } else { path }
}

/// Whether something is not there. Where a file stands in place of a directory, nothing is.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// What helps where the system refuses.
const PERMIT: &str = "permit it to the user that shrike runs as";
/// The socket through which commands reach a running process.
const CONTROL: &str = "control.sock";
/// What a process locks in each of its logs.
const LOCK: &str = "lock";
/// How a SQLite database begins.
const SQLITE: &[u8] = b"SQLite format 3\0";
/// What the name of its write-ahead log ends with.
const WAL: &str = "-wal";
/// unix(7): 108 bytes, the last one is zero.
const SOCKET_BYTES_MAX: usize = 107;
