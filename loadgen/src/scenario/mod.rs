//! Whole scenarios: fakes, a configuration, the shrike binary, load, figures, a table.

mod bench;
mod config;
mod cost;
mod demo;
mod endure;
mod fakes;
mod inputs;
mod late;
mod live;
mod nemesis;
mod process;
mod stalls;
mod table;
mod undisturbed;

pub use bench::{Bench, ScenarioError, Settings};
pub use live::{SplunkSearch, live};
pub use table::{Row, Target, print};

/// A scenario that can be run by name.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does and shows, in a sentence.
    pub about: &'static str,
    /// Runs it and gives the figures.
    pub run: fn(&Bench) -> Result<Vec<Row>, ScenarioError>,
}

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "demo",
        about: "Shipped samples and a short live run into ECS lines and both fakes",
        run: demo::demo,
    },
    Scenario {
        name: "intake",
        about: "Canonical lines on standard input until durable, no exporters",
        run: cost::intake,
    },
    Scenario {
        name: "append",
        about: "Ready records appended by the library until durable",
        run: cost::append,
    },
    Scenario {
        name: "elastic-plain",
        about: "A written log into Elasticsearch, ECS, plaintext",
        run: cost::elastic_plain,
    },
    Scenario {
        name: "elastic-gzip",
        about: "A written log into Elasticsearch, ECS, gzip",
        run: cost::elastic_gzip,
    },
    Scenario {
        name: "splunk-gzip-tls",
        about: "A written log into Splunk, native events, gzip, TLS",
        run: cost::splunk_gzip_tls,
    },
    Scenario {
        name: "datadog",
        about: "A written log into Datadog, logs and counts, plaintext",
        run: cost::datadog,
    },
    Scenario {
        name: "sumo-logic",
        about: "A written log into Sumo Logic, JSON lines, plaintext",
        run: cost::sumo_logic,
    },
    Scenario {
        name: "syslog",
        about: "A written log into a syslog receiver, TCP, counted messages",
        run: cost::syslog,
    },
    Scenario {
        name: "webhook",
        about: "A written log into a webhook, lines of JSON, plaintext",
        run: cost::webhook,
    },
    Scenario {
        name: "otlp",
        about: "A written log into an OTLP/HTTP receiver, protobuf, plaintext",
        run: cost::otlp,
    },
    Scenario {
        name: "otlp-json",
        about: "A written log into an OTLP/HTTP receiver, JSON, plaintext",
        run: cost::otlp_json,
    },
    Scenario {
        name: "s3",
        about: "A written log into an object store, OCSF, no compression",
        run: cost::s3,
    },
    Scenario { name: "file", about: "A written log into a file, native lines", run: cost::file },
    Scenario {
        name: "everyone",
        about: "A written log into one of each at once, plaintext",
        run: cost::everyone,
    },
    Scenario {
        name: "four",
        about: "A written log into two Elasticsearch and two Splunk at once, plaintext",
        run: cost::four,
    },
    Scenario {
        name: "workers",
        about: "How much more two workers move than one",
        run: cost::workers,
    },
    Scenario {
        name: "latency-20k",
        about: "20,000 events a second, TLS, gzip, answers after 5 ms",
        run: late::latency_20k,
    },
    Scenario {
        name: "latency-70",
        about: "The same at 70 % of what is the most",
        run: late::latency_70,
    },
    Scenario {
        name: "inputs",
        about: "1,000 events a second into a followed file, HTTP and a Unix socket",
        run: inputs::latency,
    },
    Scenario { name: "trickle", about: "One event a second", run: late::trickle },
    Scenario {
        name: "floor",
        about: "The least latency: no linger, plaintext, instant answers",
        run: late::floor,
    },
    Scenario {
        name: "slow-lane",
        about: "One destination hangs; the other must not notice",
        run: late::slow_lane,
    },
    Scenario {
        name: "outage",
        about: "Every destination dead under load, then healed: flat memory, nothing lost",
        run: endure::outage,
    },
    Scenario {
        name: "catch-up",
        about: "One of two dies under a quarter of the most and comes back; the other must not notice",
        run: undisturbed::catch_up,
    },
    Scenario {
        name: "replay",
        about: "One of two is rewound under load; the other must not notice",
        run: undisturbed::replay,
    },
    Scenario {
        name: "acks",
        about: "Splunk acknowledges after 2 s: as fast as without acknowledgements",
        run: undisturbed::acks,
    },
    Scenario {
        name: "acks-fire",
        about: "Splunk loses polls, acknowledgements and itself: nothing is lost",
        run: undisturbed::acks_fire,
    },
    Scenario {
        name: "kill",
        about: "kill -9 again and again while sending: nothing lost, duplicates counted",
        run: endure::kill,
    },
    Scenario {
        name: "kill-file",
        about: "The same while shrike follows a file that grows",
        run: endure::kill_file,
    },
    Scenario {
        name: "nemesis",
        about: "Kills, bad disks, leaping clocks, dead and lying destinations: nothing lost",
        run: nemesis::nemesis,
    },
];
