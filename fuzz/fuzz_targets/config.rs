//! Any text is a configuration or has mistakes with places, and none of them repeats a secret.

#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use shrike::config::{At, Config, Error, Flag, Flags, Lookup, Text};
use shrike::vendors;

const SECRET: &str = "s3cret-t0ken";

/// Every variable and every file holds the secret.
struct Full;

impl Lookup for Full {
    fn variable(&self, _name: &str) -> Option<String> {
        Some(SECRET.to_owned())
    }

    fn file(&self, _path: &Path) -> io::Result<String> {
        Ok(SECRET.to_owned())
    }

    fn hostname(&self) -> String {
        "host".to_owned()
    }
}

fuzz_target!(|input: (&str, Vec<&str>, Vec<&str>)| {
    let (text, set, to) = input;
    // The fuzzer finds the word itself; only one that came by reference is a secret.
    if [text].iter().chain(&set).chain(&to).any(|written| written.contains(SECRET)) {
        return;
    }
    let set = set.into_iter().map(|text| Flag::Set(text.to_owned()));
    let to = to.into_iter().map(|text| Flag::To(text.to_owned()));
    let flags = Flags { list: set.chain(to).collect() };
    let text = Text::File { name: "fuzz.yaml".to_owned(), text: text.to_owned().into() };
    let error = match Config::load(&text, &flags, vendors::ALL, &Full) {
        Ok(_) => return,
        Err(error) => error,
    };
    assert!(!error.to_string().contains(SECRET), "{error}");
    let Error::Wrong(mistakes) = &error else { panic!("{error}") };
    assert!(mistakes.count() > 0, "an error without a mistake");
    for mistake in mistakes.iter() {
        match &mistake.at {
            At::Place { line, column, .. } => assert!(*line > 0 && *column > 0, "{mistake}"),
            At::Flag(flag) => assert!(flag.starts_with("--"), "{mistake}"),
        }
        assert!(!mistake.to_string().contains(char::is_control), "{mistake:?}");
    }
});
