//! Configurations that are loaded where nothing comes from the environment.

use std::io;
use std::path::Path;

use shrike::config::{Config, Flags, Lookup, Text};
use shrike::vendors;

/// No variables, and no files.
struct Nowhere;

impl Lookup for Nowhere {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn hostname(&self) -> String {
        "edge-7".to_owned()
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The configuration of this text, or every mistake in it.
pub(crate) fn load(text: &str) -> Result<Config, String> {
    let text = Text::File { name: "test".to_owned(), text: text.to_owned().into() };
    Config::load(&text, &Flags::default(), vendors::ALL, &Nowhere).map_err(|it| it.to_string())
}
