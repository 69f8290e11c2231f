//! Fakes that play a script.

use std::sync::Arc;

use loadgen::account::Book;
use loadgen::fake::{Fake, Options, Vendor};

/// Starts one.
pub(crate) fn started(vendor: Vendor, book: &Arc<Book>, script: &str) -> Fake {
    let options = Options::playing(script).expect("the script is right");
    Fake::start(vendor, Arc::clone(book), options).expect("it starts")
}

/// Nothing that was asked of it is wrong.
#[track_caller]
pub(crate) fn assert_in_order(book: &Book) {
    let problems = book.report().problems;
    assert!(problems.is_empty(), "{problems:?}");
}
