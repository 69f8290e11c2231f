//! What threads of shrike share without locks, over the atomics of a model checker.
//!
//! [loom](https://docs.rs/loom) runs a model again and again, in every order of its threads'
//! steps and with every value that a load may see by the memory model, not only those that the
//! processor at hand happens to show. `build.rs` takes the code from `src`.

#![allow(dead_code, missing_docs)]

pub mod metrics {
    include!(concat!(env!("OUT_DIR"), "/metrics.rs"));
}

pub mod event {
    include!(concat!(env!("OUT_DIR"), "/offset.rs"));
}

/// Who reads which stripe.
pub mod pipeline {
    pub mod board {
        include!(concat!(env!("OUT_DIR"), "/board.rs"));
    }
}

/// What the lanes of an exporter share.
pub mod deliver {
    pub mod budget {
        include!(concat!(env!("OUT_DIR"), "/budget.rs"));
    }
    pub mod gate {
        include!(concat!(env!("OUT_DIR"), "/gate.rs"));
    }
    pub mod hold {
        include!(concat!(env!("OUT_DIR"), "/hold.rs"));
    }
    pub mod limiter {
        include!(concat!(env!("OUT_DIR"), "/limiter.rs"));
    }
    pub mod nodes {
        include!(concat!(env!("OUT_DIR"), "/nodes.rs"));
    }
    pub mod places {
        include!(concat!(env!("OUT_DIR"), "/places.rs"));
    }
    include!(concat!(env!("OUT_DIR"), "/verdict.rs"));

    // The settings, as far as they are looked at; the real ones name vendors and formats.
    pub struct Settings {
        pub vendor: Vendor,
        pub retry: RetrySettings,
        pub breaker: BreakerSettings,
        pub rate: RateSettings,
        pub connection: Connection,
    }
    pub struct Vendor {
        pub choice: Choice,
    }
    pub struct RetrySettings {
        pub budget_percent: u32,
        pub retry_after_max: Duration,
    }
    pub struct Connection {
        pub connect_timeout: Duration,
        pub timeout: Duration,
    }
    #[derive(Clone, Copy, Debug)]
    pub struct BreakerSettings {
        pub failures: u32,
        pub open: Duration,
    }
    #[derive(Clone, Copy, Debug)]
    pub struct RateSettings {
        pub per_second: Option<u32>,
        pub burst: u32,
        pub adaptive: bool,
        pub per_second_min: u32,
    }
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Choice {
        Around,
        First,
    }
}
