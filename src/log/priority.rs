//! How soon the kernel runs the thread that writes the log.
//!
//! It runs for moments, and all that is appended waits for it. Where every core is busy, with
//! lanes that catch up above all, a thread like any other waits for a core until the kernel's next
//! tick or two, some 4 ms each; one of a real-time class has it at once.

use std::fmt;
use std::os::unix::thread::JoinHandleExt as _;
use std::thread::JoinHandle;

use thread_priority::ThreadPriority;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
};

/// What the kernel agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Before every thread of the usual class: `SCHED_RR`, the lowest of its priorities.
    Realtime,
    /// Like any other.
    Usual,
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Realtime => "realtime",
            Self::Usual => "usual",
        })
    }
}

/// Has a thread run before others, where the process may: with `CAP_SYS_NICE`, or a limit of
/// `RLIMIT_RTPRIO` of at least 1 (sched(7)).
pub(super) fn raise<T>(thread: &JoinHandle<T>) -> Priority {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    match set_thread_priority_and_policy(thread.as_pthread_t(), ThreadPriority::Min, policy) {
        Ok(()) => Priority::Realtime,
        Err(_) => Priority::Usual,
    }
}
