//! Work that may stall, on a thread of its own.

use std::{io, thread};

use tokio::sync::oneshot;

/// Does work that may stall for as long as a disk or a pipe likes, off this thread.
///
/// Each has a thread of its own, so that none waits behind another; who asks bounds how many there
/// are. Dropping the future leaves the work to its end, which a process that ends does not await.
///
/// # Errors
/// When the kernel gives no thread, or the work panicked.
pub(super) async fn errand<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    let run = move || {
        // Nobody may wait for it any more.
        let _ = tell.send(work());
    };
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    told.await.map_err(|_| io::Error::other("the thread that did it has ended"))
}
