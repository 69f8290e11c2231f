//! Parties of a scenario that stand for machines of their own.

use thread_priority::ThreadPriority;
use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// Has the calling thread, and those that it starts, go before shrike's wherever they want the same
/// core, as another machine's would; where the process may not, they wait like any other.
pub fn raise() {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let _refused = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
}
