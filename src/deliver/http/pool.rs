//! Connections of one endpoint: kept, shared, bounded, retired.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::super::TransportError;
use super::TransportCounts;
use super::connect::Version;
use super::h1::H1;
use super::h2::H2;

/// How many connections an endpoint may have and how long they are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections, over all groups.
    pub(super) connections: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub(super) streams: usize,
    /// How long an idle connection is kept.
    pub(super) idle: Duration,
    /// How long a connection takes new requests.
    pub(super) age: Duration,
}

/// The connections of one endpoint.
pub(super) struct Pool {
    bounds: Bounds,
    state: RefCell<State>,
    /// Told when a request that waits may find its turn.
    changed: Notify,
    counts: Arc<TransportCounts>,
}

#[derive(Default)]
struct State {
    /// What the server spoke last; unknown before the first connection.
    version: Option<Version>,
    /// Idle HTTP/1.1 connections with their groups, the longest idle first.
    idle: Vec<(u32, H1)>,
    /// HTTP/2 connections that take new requests.
    shared: Vec<(u32, Rc<H2>)>,
    /// Connections that exist or are being made.
    open: usize,
    /// Connections that are being made.
    connecting: usize,
    /// The latest failure to make one, and how many there were.
    failures: u64,
    failure: Option<TransportError>,
    is_swept: bool,
}

/// The right to have a connection, held by its task; given back when dropped.
pub(super) struct Slot(Weak<Pool>);

/// The right to make a connection.
pub(super) struct Permit {
    pool: Rc<Pool>,
    slot: Option<Slot>,
}

/// An HTTP/1.1 connection in use: closed when dropped in the middle of an exchange.
pub(super) struct Busy {
    pool: Rc<Pool>,
    group: u32,
    line: Option<H1>,
}

/// One place on an HTTP/2 connection.
pub(super) struct Lease {
    pool: Rc<Pool>,
    line: Rc<H2>,
}

/// What a request got.
pub(super) enum Taken {
    /// A kept HTTP/1.1 connection.
    Kept(Busy),
    /// A place on an HTTP/2 connection.
    Shared(Lease),
    /// The right to make a connection.
    Connect(Permit),
}

enum Look {
    Taken(Taken),
    /// Nothing is free.
    Full,
    /// Another request is making a connection that may serve this one too.
    Coming,
}

impl Pool {
    /// A pool for an endpoint that speaks this version, if that is known beforehand.
    pub(super) fn new(
        bounds: Bounds,
        version: Option<Version>,
        counts: &Arc<TransportCounts>,
    ) -> Rc<Self> {
        assert!(bounds.connections > 0, "a pool without connections can never send");
        assert!(bounds.streams > 0, "a connection without streams can never send");
        let state = RefCell::new(State { version, ..State::default() });
        Rc::new(Self { bounds, state, changed: Notify::new(), counts: Arc::clone(counts) })
    }

    /// Takes a connection of a group, or the right to make one, in order of asking.
    ///
    /// An error is that of the connection that another request tried to make meanwhile.
    pub(super) async fn take(self: &Rc<Self>, group: u32) -> Result<Taken, TransportError> {
        let failures = self.state.borrow().failures;
        let mut has_waited = false;
        loop {
            // Before looking, so that no change between looking and waiting is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.look(group) {
                Look::Taken(Taken::Kept(mut busy)) => {
                    // Let the connection's task see what lies in the socket: a server that closed
                    // meanwhile has said so there.
                    tokio::task::yield_now().await;
                    if busy.is_usable().await {
                        return Ok(Taken::Kept(busy));
                    }
                }
                Look::Taken(taken) => return Ok(taken),
                Look::Full => {
                    self.counts.waited.add(u64::from(!std::mem::replace(&mut has_waited, true)));
                    changed.await;
                }
                Look::Coming => {
                    changed.await;
                    let state = self.state.borrow();
                    if let Some(failure) =
                        state.failure.as_ref().filter(|_| state.failures > failures)
                    {
                        return Err(failure.clone());
                    }
                }
            }
        }
    }

    fn look(self: &Rc<Self>, group: u32) -> Look {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        state.retire(&self.bounds, now);
        if let Some(line) = state.least_used(group, self.bounds.streams) {
            line.streams.set(line.streams.get() + 1);
            return Look::Taken(Taken::Shared(Lease { pool: Rc::clone(self), line }));
        }
        // The last used is the one that the server least likely has closed.
        if let Some(at) = state.idle.iter().rposition(|(of, _)| *of == group) {
            let (_, line) = state.idle.remove(at);
            let line = Some(line);
            return Look::Taken(Taken::Kept(Busy { pool: Rc::clone(self), group, line }));
        }
        let is_made = state.version != Some(Version::Http1) && state.connecting > 0;
        if is_made || state.is_unsettled(group) {
            return Look::Coming;
        }
        if state.open < self.bounds.connections {
            state.open += 1;
            state.connecting += 1;
            let slot = Some(Slot(Rc::downgrade(self)));
            return Look::Taken(Taken::Connect(Permit { pool: Rc::clone(self), slot }));
        }
        state.evict();
        Look::Full
    }

    /// Forgets the idle connections: one of them turned out to be dead, so all may be.
    pub(super) fn forget(&self) {
        let idle = std::mem::take(&mut self.state.borrow_mut().idle);
        drop(idle);
    }

    fn keep(self: &Rc<Self>, group: u32, mut line: H1) {
        line.idle_since = Instant::now();
        line.is_used = true;
        self.state.borrow_mut().idle.push((group, line));
        self.sweep();
        self.changed.notify_waiters();
    }

    /// Closes connections that nobody uses, also when no request comes any more.
    fn sweep(self: &Rc<Self>) {
        if std::mem::replace(&mut self.state.borrow_mut().is_swept, true) {
            return;
        }
        let pool = Rc::downgrade(self);
        let idle = self.bounds.idle;
        tokio::task::spawn_local(async move {
            let mut next = Some(Instant::now() + idle);
            while let Some(at) = next {
                sleep_until(at).await;
                next = Weak::upgrade(&pool).and_then(|pool| pool.swept());
            }
        });
    }

    /// Closes what has been idle for too long; the next time to look, if anything is left.
    fn swept(&self) -> Option<Instant> {
        let mut state = self.state.borrow_mut();
        state.retire(&self.bounds, Instant::now());
        let kept = state.idle.iter().map(|(_, line)| line.idle_since);
        let shared = state.shared.iter().map(|(_, line)| match line.streams.get() {
            0 => line.idle_since.get(),
            _ => Instant::now(),
        });
        let next = kept.chain(shared).min().map(|since| since + self.bounds.idle);
        state.is_swept = next.is_some();
        next
    }
}

impl State {
    /// Drops connections that are closed, too old, or idle for too long.
    ///
    /// Shared ones finish the requests they have.
    fn retire(&mut self, bounds: &Bounds, now: Instant) {
        self.idle.retain(|(_, line)| {
            line.is_open() && now < line.idle_since + bounds.idle && now < line.born + bounds.age
        });
        self.shared.retain(|(_, line)| {
            let is_idle = line.streams.get() == 0;
            let is_stale = is_idle && now >= line.idle_since.get() + bounds.idle;
            line.is_open() && !is_stale && now < line.born + bounds.age
        });
    }

    fn least_used(&self, group: u32, streams_max: usize) -> Option<Rc<H2>> {
        let of_group = self.shared.iter().filter(|(of, _)| *of == group).map(|(_, line)| line);
        let free = of_group.filter(|line| line.streams.get() < streams_max.min(line.streams_max()));
        free.min_by_key(|line| line.streams.get()).map(Rc::clone)
    }

    /// Whether a connection has not heard yet how many streams it may have.
    fn is_unsettled(&self, group: u32) -> bool {
        self.shared.iter().any(|(of, line)| *of == group && !line.is_settled.get())
    }

    /// Closes the connection of another group that has idled longest, to make room.
    fn evict(&mut self) {
        if !self.idle.is_empty() {
            drop(self.idle.remove(0));
        } else if let Some(at) = self.shared.iter().position(|(_, line)| line.streams.get() == 0) {
            drop(self.shared.remove(at));
        }
    }
}

impl Permit {
    /// The slot that the connection keeps while it lives.
    pub(super) fn slot(&mut self) -> Slot {
        self.slot.take().expect("a permit makes one connection")
    }

    /// An HTTP/1.1 connection was made.
    pub(super) fn made_h1(self, group: u32, line: H1) -> Busy {
        self.pool.state.borrow_mut().version = Some(Version::Http1);
        Busy { pool: Rc::clone(&self.pool), group, line: Some(line) }
    }

    /// An HTTP/2 connection was made.
    pub(super) fn made_h2(self, group: u32, line: H2) -> Lease {
        let line = Rc::new(line);
        line.streams.set(1);
        let mut state = self.pool.state.borrow_mut();
        state.version = Some(Version::Http2);
        state.shared.push((group, Rc::clone(&line)));
        drop(state);
        self.pool.sweep();
        Lease { pool: Rc::clone(&self.pool), line }
    }

    /// No connection was made.
    pub(super) fn failed(self, error: &TransportError) {
        let mut state = self.pool.state.borrow_mut();
        state.failures += 1;
        state.failure = Some(error.clone());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.state.borrow_mut().connecting -= 1;
        self.pool.changed.notify_waiters();
    }
}

impl Slot {
    /// Wakes the requests that wait: the connection may take more than before.
    pub(super) fn wake(&self) {
        if let Some(pool) = self.0.upgrade() {
            pool.changed.notify_waiters();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.state.borrow_mut().open -= 1;
            pool.changed.notify_waiters();
        }
    }
}

impl Busy {
    /// The connection.
    pub(super) fn line(&mut self) -> &mut H1 {
        self.line.as_mut().expect("a busy connection is there until it is kept or dropped")
    }

    async fn is_usable(&mut self) -> bool {
        let line = self.line();
        line.is_open() && line.is_ready().await
    }

    /// Gives it back after a whole exchange.
    pub(super) fn keep(mut self) {
        if let Some(line) = self.line.take().filter(H1::is_open) {
            self.pool.keep(self.group, line);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.abort();
        }
    }
}

impl Lease {
    /// The connection.
    pub(super) fn line(&self) -> &H2 {
        &self.line
    }

    /// Takes the connection out of use; requests on it go on.
    pub(super) fn retire(&self) {
        let mut state = self.pool.state.borrow_mut();
        state.shared.retain(|(_, line)| !Rc::ptr_eq(line, &self.line));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.line.streams.set(self.line.streams.get() - 1);
        self.line.idle_since.set(Instant::now());
        // A server that answers has said all that it says beforehand.
        self.line.is_settled.set(true);
        self.pool.changed.notify_waiters();
    }
}
