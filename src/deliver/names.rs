//! From host names to addresses, by the system's resolver.
//!
//! It blocks for as long as its servers are silent, tries and search domains multiplied, and cannot
//! be stopped. So each lookup has a thread that nothing else waits for, and a name has at most one
//! at a time: whoever asks meanwhile waits for the same answer. There are never more of them than
//! the configuration names hosts.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::watch::{Receiver, channel};

/// The system's resolver.
pub(super) static SYSTEM: Names = Names::new(ask_system);

/// Looks names up, each once at a time.
pub(super) struct Names {
    look_up: LookUp,
    under_way: Mutex<BTreeMap<String, Receiver<Option<Found>>>>,
}

type LookUp = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// Addresses in the resolver's order, port 0, or its words, which do not repeat the name.
type Found = Result<Vec<SocketAddr>, String>;

impl Names {
    const fn new(look_up: LookUp) -> Self {
        Self { look_up, under_way: Mutex::new(BTreeMap::new()) }
    }

    /// The addresses of a host. Dropping the future leaves the lookup to those that ask next.
    pub(super) async fn find(&'static self, host: &str) -> Found {
        let mut answer = self.ask(host).map_err(|error| format!("no thread: {error}"))?;
        let found = answer.wait_for(Option::is_some).await;
        let found = found.map_err(|_| "the thread that asked has ended".to_owned())?;
        found.clone().expect("it was waited for")
    }

    /// The lookup of a host that is under way, or another.
    fn ask(&'static self, host: &str) -> io::Result<Receiver<Option<Found>>> {
        let mut under_way = self.lock();
        if let Some(answer) = under_way.get(host) {
            return Ok(answer.clone());
        }
        let (tell, answer) = channel(None);
        let name = host.to_owned();
        let run = move || {
            let found = (self.look_up)(&name).map_err(|error| error.to_string());
            // Who asks from now on gets a younger answer.
            self.lock().remove(&name);
            tell.send_replace(Some(found));
        };
        thread::Builder::new().name("shrike-name".to_owned()).spawn(run)?;
        under_way.insert(host.to_owned(), answer.clone());
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Receiver<Option<Found>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ask_system(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use tokio::runtime::{Builder, Runtime};
    use tokio::time::timeout;

    use super::*;

    /// Held while the resolver does not answer for some.
    static SILENCE: Mutex<()> = Mutex::new(());
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static NAMES: Names = Names::new(ask);

    fn ask(host: &str) -> io::Result<Vec<SocketAddr>> {
        if host.starts_with("silent") {
            ASKED.fetch_add(1, Ordering::Relaxed);
            drop(SILENCE.lock());
        }
        if host == "unknown" {
            return Err(io::Error::other("Name or service not known"));
        }
        Ok(vec![SocketAddr::from(([192, 0, 2, 1], 0))])
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn a_name_without_an_answer_keeps_nobody_else_waiting() {
        let silence = SILENCE.lock().expect("no test has panicked with it");
        let soon = Duration::from_millis(20);
        let address = SocketAddr::from(([192, 0, 2, 1], 0));
        let asking = runtime();
        for host in ["silent-1", "silent-2", "silent-3", "silent-4", "silent-5", "silent-6"] {
            for _ in 0..2 {
                let asked = asking.block_on(async { timeout(soon, NAMES.find(host)).await });
                assert!(asked.is_err(), "{host} answered");
            }
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 6, "a lookup under way is shared");
        assert_eq!(asking.block_on(NAMES.find("known")), Ok(vec![address]));
        let unknown = asking.block_on(NAMES.find("unknown"));
        assert_eq!(unknown, Err("Name or service not known".to_owned()));
        // A runtime that ends does not wait for them either.
        let began = Instant::now();
        drop(asking);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let late = thread::spawn(|| runtime().block_on(NAMES.find("silent-6")));
        drop(silence);
        assert_eq!(late.join().expect("it does not panic"), Ok(vec![address]));
    }

    #[test]
    fn the_system_knows_this_host() {
        let found = runtime().block_on(SYSTEM.find("localhost")).expect("hosts(5) has it");
        assert!(found.iter().any(|address| address.ip().is_loopback()), "{found:?}");
    }
}
