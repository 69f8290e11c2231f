//! Finds the judges that `.ci/judges` installs, and runs them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

/// The target directory's place for them.
fn place() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    // target/debug/deps/judges-HASH
    test.ancestors().nth(3).expect("tests lie three levels deep").join("judges")
}

/// The tests' own files of this target.
pub(crate) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges").join(name)
}

/// The program of a judge; `None` when it is not installed, which is said, and which fails where
/// `SHRIKE_JUDGES` names it as installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let inside =
        ["debian/usr/bin", "debian/usr/sbin", "python/bin", "rotel/rotel", "npm/node_modules/.bin"]
            .map(|it| place().join(it));
    let found = inside.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
    if found.is_none() {
        let promised = std::env::var("SHRIKE_JUDGES").unwrap_or_default();
        let is_promised = promised.split_whitespace().any(|it| it == name);
        assert!(!is_promised, "{name} should be below {}", place().display());
        // Past the harness, which keeps what passing tests print.
        let said = format!("not judged: {name} is missing, `.ci/judges` installs it\n");
        let _ = std::io::stderr().write_all(said.as_bytes());
    }
    found
}

/// A command of a program that may need libraries which were unpacked with it.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    let debian = place().join("debian");
    if program.starts_with(&debian) {
        let path = std::env::join_paths(libraries()).expect("names of packages have no colons");
        command.env("LD_LIBRARY_PATH", path);
    }
    command.stdin(Stdio::null());
    command
}

/// Leaves a script that runs a program with the libraries which were unpacked with it.
pub(crate) fn wrap(program: &Path, dir: &Path) -> PathBuf {
    let script = dir.join("wrapped");
    let libraries = std::env::join_paths(libraries()).expect("names of packages have no colons");
    let text = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
        libraries.to_string_lossy(),
        program.display()
    );
    std::fs::write(&script, text).expect("the directory is ours");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&script, executable).expect("the file is ours");
    script
}

/// The directories of libraries that were unpacked: one per architecture, and those beside.
fn libraries() -> Vec<PathBuf> {
    let debian = place().join("debian");
    let mut found = Vec::new();
    for dir in ["usr/lib", "lib"].map(|dir| debian.join(dir)) {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        found.extend(entries.flatten().map(|entry| entry.path()));
    }
    found
}

/// Where the modules of an unpacked program are.
pub(crate) fn modules(program: &str) -> PathBuf {
    let mut parents = libraries();
    parents.push(place().join("debian/usr/lib"));
    let found = parents.iter().map(|parent| parent.join(program)).find(|path| path.is_dir());
    let found = found.unwrap_or_else(|| panic!("{program} has modules"));
    // syslog-ng keeps those of a version apart.
    let version = std::fs::read_dir(&found).expect("it is a directory").flatten();
    let version = version.map(|entry| entry.path()).find(|path| path.is_dir());
    version.unwrap_or(found)
}

/// A judge written in Python.
pub(crate) fn script(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(here(name));
    command
}

/// The built `shrike`.
pub(crate) fn shrike() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shrike"));
    command.env_remove("COLUMNS").stdin(Stdio::null());
    command
}

/// An address of the loopback network that no other test of this machine has: their ports come
/// from 127.0.0.1, and another run of this test has another process number.
pub(crate) fn own_address(port: u16) -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = [127, high.max(1), low, NEXT.fetch_add(1, Ordering::Relaxed)];
    (ip, port).into()
}

/// What a judge said, and whether it approved.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) approves: bool,
    pub(crate) text: String,
}

/// Runs a judge on bytes.
pub(crate) fn judge(mut judge: Command, bytes: &[u8]) -> Verdict {
    let mut child = judge.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    thread::scope(|scope| {
        // A judge that ends early closes the pipe; what it said tells why.
        scope.spawn(move || drop(stdin.write_all(bytes)));
        said(child)
    })
}

/// A judge that serves until its standard input ends, and then says what it thinks.
pub(crate) struct Service {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Service {
    /// Starts it; the line is what it says once it serves.
    pub(crate) fn start(mut command: Command) -> (Self, String) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it is installed");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it says where it serves");
        (Self { child, out }, line)
    }

    /// Ends it.
    pub(crate) fn end(mut self) -> Verdict {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.out.read_to_string(&mut text).expect("it says what it thinks");
        Verdict { approves: self.child.wait().expect("it ends").success(), text }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a judge says whose standard output is piped.
pub(crate) fn said(child: Child) -> Verdict {
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Verdict { approves: output.status.success(), text }
}
