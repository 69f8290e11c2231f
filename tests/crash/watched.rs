//! A process whose calls to the disk are counted; one of them fails, or is the last.
//!
//! The kernel asks a supervisor about every call (seccomp's user notification), so nothing is
//! loaded into the process, and everything it does is seen: the log, checkpoints, letters,
//! receipts, positions, quarantine.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::place::Shrike;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The system refuses it, as a bad or full disk would.
    Refused,
    /// The process ends instead of making it.
    Killed,
}

/// What a whole disk is like for a while.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    errno: Arc<AtomicI32>,
    /// Bytes that are free.
    free: Arc<AtomicI64>,
}

impl Default for Weather {
    fn default() -> Self {
        Self { errno: Arc::default(), free: Arc::new(AtomicI64::new(i64::MAX / 2)) }
    }
}

impl Weather {
    /// Nothing takes space from now on.
    pub(crate) fn full(&self) {
        self.errno.store(libc::ENOSPC, Ordering::Release);
    }

    /// There is no space from now on but what is given back.
    pub(crate) fn filled(&self) {
        self.free.store(0, Ordering::Release);
    }

    /// Nothing is changed from now on.
    pub(crate) fn read_only(&self) {
        self.errno.store(libc::EROFS, Ordering::Release);
    }

    /// All is well again.
    pub(crate) fn fair(&self) {
        self.errno.store(0, Ordering::Release);
    }

    /// What it has for a call; 0 lets it pass.
    fn errno(&self, call: &Call, args: &[u64; 6], path: &Path) -> i32 {
        let (flags, errno) = (args[2] as i32, self.errno.load(Ordering::Acquire));
        let changes = match (call.name, errno) {
            (_, 0) | ("sync" | "map", _) => false,
            ("open", libc::ENOSPC) => flags & libc::O_CREAT != 0 && !path.exists(),
            ("open", _) => flags & (libc::O_CREAT | libc::O_WRONLY | libc::O_RDWR) != 0,
            (_, libc::ENOSPC) => call.takes_space,
            _ => true,
        };
        match changes {
            true => errno,
            false => self.take(call, args, path),
        }
    }

    /// Takes what a call needs of the space, where there is so much.
    fn take(&self, call: &Call, args: &[u64; 6], path: &Path) -> i32 {
        let grows = path.extension().is_some_and(|it| it == "draft" || it == "jsonl");
        let bytes = match call.name {
            "allocate" => args[3] as i64,
            "write" if grows => args[2] as i64,
            "unlink" => path.metadata().map_or(0, |file| -(file.blocks() as i64 * 512)),
            _ => 0,
        };
        // One call is judged at a time.
        let free = self.free.load(Ordering::Acquire);
        if bytes > free {
            return libc::ENOSPC;
        }
        self.free.store(free - bytes, Ordering::Release);
        0
    }
}

/// A running process, and what is asked about it.
pub(crate) struct Watched {
    pub(crate) shrike: Shrike,
    supervisor: JoinHandle<Vec<String>>,
}

impl Watched {
    /// Starts a command; the call number `at` below `dir`, from 0, meets the fault.
    pub(crate) fn start(command: Command, dir: &Path, at: Option<(usize, Fault)>) -> Self {
        Self::begin(command, dir, (at, Weather::default()))
    }

    /// Starts a command whose calls below `dir` meet this weather.
    pub(crate) fn under(command: Command, dir: &Path, weather: &Weather) -> Shrike {
        let Self { shrike, .. } = Self::begin(command, dir, (None, weather.clone()));
        shrike
    }

    fn begin(
        command: Command,
        dir: &Path,
        (at, weather): (Option<(usize, Fault)>, Weather),
    ) -> Self {
        let (listeners, listener) = mpsc::channel();
        let (pids, pid) = mpsc::channel();
        // The filter holds for this thread and what it starts, never for the tests.
        let starting = thread::spawn(move || {
            listeners.send(listen()).expect("the supervisor waits");
            let shrike = Shrike::start(command);
            pids.send(shrike.pid()).expect("the supervisor lives as long as the filter");
            shrike
        });
        let dir = dir.to_path_buf();
        let supervisor = thread::spawn(move || {
            let listener = listener.recv().expect("the filter is installed");
            Supervisor { listener, dir, at, weather, pid, calls: Vec::new() }.run()
        });
        Self { shrike: starting.join().expect("the command starts"), supervisor }
    }

    /// The process, and after its end its calls.
    pub(crate) fn parts(self) -> (Shrike, impl FnOnce() -> Vec<String>) {
        let Self { shrike, supervisor } = self;
        (shrike, || supervisor.join().expect("it ends with the process"))
    }
}

struct Supervisor {
    listener: OwnedFd,
    dir: PathBuf,
    at: Option<(usize, Fault)>,
    weather: Weather,
    pid: mpsc::Receiver<Pid>,
    /// What was called on which file.
    calls: Vec<String>,
}

impl Supervisor {
    /// Answers until nobody is left who could ask.
    fn run(mut self) -> Vec<String> {
        loop {
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => assert!(polled.is_ok(), "the listener is ours"),
            }
            if !fds[0].revents().contains(PollFlags::IN) {
                return self.calls;
            }
            // A caller that was killed meanwhile asks no more.
            let Some(asked) = receive(self.listener.as_fd()) else { continue };
            let errno = self.judge(&asked);
            send(self.listener.as_fd(), asked.id, errno);
        }
    }

    /// The error that a call meets, 0 for none.
    fn judge(&mut self, asked: &libc::seccomp_notif) -> i32 {
        let number = i64::from(asked.data.nr);
        let Some(call) = CALLS.iter().find(|call| call.number == number) else { return 0 };
        let argument = asked.data.args[call.at];
        let path = match call.by {
            By::Descriptor => {
                let descriptor = argument as i32;
                std::fs::read_link(format!("/proc/{}/fd/{descriptor}", asked.pid)).ok()
            }
            By::Name => text(asked.pid, argument),
        };
        let Some(path) = path.filter(|path| path.starts_with(&self.dir)) else { return 0 };
        let number = self.calls.len();
        let name = path.strip_prefix(&self.dir).unwrap_or(&path).display();
        self.calls.push(format!("{} {name}", call.name));
        match self.at {
            Some((at, Fault::Refused)) if at == number => {
                // Where space is asked for, there may be none.
                if call.takes_space && number.is_multiple_of(2) { libc::ENOSPC } else { libc::EIO }
            }
            Some((at, Fault::Killed)) if at == number => {
                let pid = self.pid.recv().expect("it was started");
                kill_process(pid, Signal::KILL).expect("it runs");
                libc::EINTR
            }
            _ => self.weather.errno(call, &asked.data.args, &path),
        }
    }
}

/// How a call says what it is about.
#[derive(Clone, Copy)]
enum By {
    Descriptor,
    Name,
}

/// One of the calls that are looked at.
struct Call {
    number: i64,
    name: &'static str,
    /// Which of its arguments says what it is about.
    at: usize,
    by: By,
    takes_space: bool,
}

const fn call(number: i64, name: &'static str, at: usize, by: By) -> Call {
    Call { number, name, at, by, takes_space: false }
}

const fn taking(number: i64, name: &'static str, at: usize, by: By) -> Call {
    Call { number, name, at, by, takes_space: true }
}

/// Everything that changes a file or a name, that makes it durable, and that opens or maps it.
const CALLS: &[Call] = &[
    taking(libc::SYS_openat, "open", 1, By::Name),
    taking(libc::SYS_write, "write", 0, By::Descriptor),
    taking(libc::SYS_writev, "write", 0, By::Descriptor),
    taking(libc::SYS_pwrite64, "write", 0, By::Descriptor),
    taking(libc::SYS_fallocate, "allocate", 0, By::Descriptor),
    call(libc::SYS_ftruncate, "truncate", 0, By::Descriptor),
    call(libc::SYS_fsync, "sync", 0, By::Descriptor),
    call(libc::SYS_fdatasync, "sync", 0, By::Descriptor),
    call(libc::SYS_mmap, "map", 4, By::Descriptor),
    call(libc::SYS_renameat, "rename", 1, By::Name),
    call(libc::SYS_renameat2, "rename", 1, By::Name),
    call(libc::SYS_unlinkat, "unlink", 1, By::Name),
    taking(libc::SYS_mkdirat, "mkdir", 1, By::Name),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_rename, "rename", 0, By::Name),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_unlink, "unlink", 0, By::Name),
    #[cfg(target_arch = "x86_64")]
    taking(libc::SYS_mkdir, "mkdir", 0, By::Name),
];

/// Installs the filter for this thread; the kernel asks through what this returns.
fn listen() -> OwnedFd {
    let step = |code: u32, jt, jf, k| {
        let code = u16::try_from(code).expect("codes are small");
        libc::sock_filter { code, jt, jf, k }
    };
    let answer = |k| step(libc::BPF_RET | libc::BPF_K, 0, 0, k);
    let load = |k| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, k);
    let equal = |k, jt, jf| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, k);
    let mut filter = vec![load(0)];
    for call in CALLS {
        let number = u32::try_from(call.number).expect("numbers are small");
        if call.number == libc::SYS_mmap {
            // Memory without a file is of no interest, and an allocator that waited for the
            // supervisor could hold what the supervisor needs.
            filter.extend([equal(number, 0, 4), load(DESCRIPTOR_AT), equal(u32::MAX, 0, 1)]);
            filter.extend([answer(libc::SECCOMP_RET_ALLOW), answer(libc::SECCOMP_RET_USER_NOTIF)]);
        } else {
            filter.extend([equal(number, 0, 1), answer(libc::SECCOMP_RET_USER_NOTIF)]);
        }
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    let len = u16::try_from(filter.len()).expect("a short filter");
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: takes numbers only.
    let answered = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(answered, 0, "no new privileges");
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the program and its filter live until the call returns; the kernel copies them.
    let listener = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    let listener = i32::try_from(listener).expect("descriptors are small");
    assert!(listener >= 0, "{}: this needs Linux 5.9", std::io::Error::last_os_error());
    // SAFETY: the kernel just made it for us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(listener) }
}

/// The next question; `None` when whoever asked is gone.
fn receive(listener: std::os::fd::BorrowedFd<'_>) -> Option<libc::seccomp_notif> {
    // SAFETY: numbers only, of which the kernel asks that they be zero.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
    // SAFETY: the kernel fills in the structure that this request is defined for.
    let answered = unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut asked) };
    (answered == 0).then_some(asked)
}

/// Lets a call go on, or fail.
fn send(listener: std::os::fd::BorrowedFd<'_>, id: u64, errno: i32) {
    let goes_on = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    let flags = if errno == 0 { u32::try_from(goes_on).expect("a small number") } else { 0 };
    let mut response = libc::seccomp_notif_resp { id, val: 0, error: -errno, flags };
    let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
    // SAFETY: the kernel reads the structure that this request is defined for. Whoever was killed
    // meanwhile needs no answer, so that the result does not matter.
    unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut response) };
}

/// A path in the memory of a process.
fn text(pid: u32, address: u64) -> Option<PathBuf> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = Vec::new();
    while bytes.len() < PATH_BYTES_MAX {
        // A page at a time: the next one may not be there.
        let at = address + bytes.len() as u64;
        let mut page = vec![0; usize::try_from(PAGE_BYTES - at % PAGE_BYTES).expect("one page")];
        memory.read_exact_at(&mut page, at).ok()?;
        bytes.extend_from_slice(&page);
        if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
            bytes.truncate(end);
            return String::from_utf8(bytes).ok().map(PathBuf::from);
        }
    }
    None
}

const PAGE_BYTES: u64 = 4096;
const PATH_BYTES_MAX: usize = 2 * 4096;
/// Where the filter finds the low half of a call's fifth argument.
const DESCRIPTOR_AT: u32 = 16 + 4 * 8;
