//! Destinations, environment and files of every test.

use std::path::Path;

use shrike::config::{Config, Error, Flag, Flags, Lookup, Text};
use shrike::deliver::{Derived, Encoding, Kind, Opt, Options, Problem, RouteMap, Vendor, When};
use shrike::transform::Format;

/// A destination with a key of every kind that vendors use.
pub(crate) static TOWER: Vendor = Vendor {
    name: "tower",
    aliases: &["watchtower"],
    about: "A destination for tests.",
    options: &[
        Opt {
            key: "nodes",
            aliases: &["base_url"],
            kind: Kind::Urls,
            default: None,
            about: "Where it is.",
        },
        Opt {
            key: "auth.token",
            aliases: &["token"],
            kind: Kind::Secret,
            default: None,
            about: "Who we are.",
        },
        Opt {
            key: "index.name",
            aliases: &["index"],
            kind: Kind::Text(16),
            default: Some("main"),
            about: "Where events go.",
        },
        Opt {
            key: "index.mode",
            aliases: &[],
            kind: Kind::Choice(&["daily", "alias"]),
            default: Some("daily"),
            about: "How it is divided.",
        },
        Opt {
            key: "ack.channel",
            aliases: &[],
            kind: Kind::Uuid,
            default: None,
            about: "A channel.",
        },
    ],
    formats: &[Format::Ecs, Format::Native],
    encodings: &[Encoding::Gzip, Encoding::Identity],
    endpoints: |options: &Options| match options.list("nodes").as_slice() {
        [] => Err(Problem { key: "nodes".into(), problem: "needs at least one URL".into() }),
        urls => Ok(urls.iter().filter_map(|url| url.parse().ok()).collect()),
    },
    route_keys: &["index.name"],
    ..Vendor::BASE
};

/// A destination with maps to its routes, and defaults of its own for keys of all.
pub(crate) static BELL: Vendor = Vendor {
    name: "bell",
    about: "A destination for tests.",
    options: &[
        Opt {
            key: "key",
            aliases: &[],
            kind: Kind::Secret,
            default: None,
            about: "Which one rings.",
        },
        Opt {
            key: "tower_url",
            aliases: &[],
            kind: Kind::SecretUrl,
            default: None,
            about: "Where it hangs.",
        },
        Opt {
            key: "tone",
            aliases: &[],
            kind: Kind::Text(8),
            default: Some("loud"),
            about: "How it rings.",
        },
    ],
    derive: |options: &Options| match options.secret("key") {
        Some(key) if key.expose().starts_with("wrong") => {
            Err(Problem { key: "key".into(), problem: "expected another".into() })
        }
        _ => Ok(Derived::NONE),
    },
    usual: &[("filter.min_severity", "high"), ("filter.only_denied", "true")],
    route_keys: &["key", "tone", "tower_url"],
    route_maps: &[
        RouteMap {
            key: "routing.by_severity",
            name: "severity",
            kind: Kind::Secret,
            option: &[(When::Is("tone", "loud"), "key")],
            adds: false,
            about: "Bells by severity.",
        },
        RouteMap {
            key: "routing.by_guard",
            name: "guard",
            kind: Kind::SecretUrl,
            option: &[(When::Always, "tower_url")],
            adds: false,
            about: "Towers by guard.",
        },
    ],
    ..Vendor::BASE
};

pub(crate) static STDOUT: Vendor = Vendor {
    name: "stdout",
    about: "Lines on standard output.",
    formats: &[Format::Ecs, Format::Native, Format::Cef, Format::Ocsf, Format::Text],
    takes_default_format: true,
    ..Vendor::BASE
};

/// The environment of every test.
pub(crate) struct Fixed;

impl Lookup for Fixed {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("s3cr3t-from-the-environment".to_owned()),
            "PORT" => Some("9200".to_owned()),
            "NO" => Some("false".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${TOKEN}\nversion: 9".to_owned()),
            _ => None,
        }
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        match path.to_str() {
            Some("/run/token") => Ok("s3cr3t-from-a-file\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn hostname(&self) -> String {
        "watch1".to_owned()
    }
}

pub(crate) fn load_with(text: &str, flags: Vec<Flag>) -> Result<Config, Error> {
    let text = Text::File { name: "shrike.yaml".to_owned(), text: text.to_owned().into() };
    Config::load(&text, &Flags { list: flags }, &[&TOWER, &STDOUT], &Fixed)
}

/// The same with the destination that has maps.
pub(crate) fn load_bell(keys: &str) -> Result<Config, Error> {
    let text = format!("exporters:\n  bell:\n{keys}");
    let text = Text::File { name: "shrike.yaml".to_owned(), text: text.into() };
    Config::load(&text, &Flags::default(), &[&BELL], &Fixed)
}

pub(crate) fn load(text: &str) -> Result<Config, Error> {
    load_with(text, Vec::new())
}

/// What a text is refused with, without the file's name.
pub(crate) fn refusal(text: &str) -> String {
    match load(text) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string().replace("shrike.yaml:", ""),
    }
}
