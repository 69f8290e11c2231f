//! The enumerations of the canonical event, parsed once.

/// Declares an enumeration with its wire words and a case for any other word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$case_doc])* $case,)*
            /// Any other word; the event keeps it verbatim.
            #[default]
            Other,
        }

        impl $name {
            /// Every known case.
            pub const ALL: &[Self] = &[$(Self::$case,)*];

            /// Reads the wire word, without its quotes.
            #[must_use]
            pub fn parse(word: &[u8]) -> Self {
                $(if word == $word.as_bytes() { return Self::$case; })*
                Self::Other
            }

            /// The wire word; `unknown` for a case that is none of ours.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$case => $word,)* Self::Other => "unknown" }
            }
        }
    };
}

words! {
    /// What happened.
    EventType {
        /// A policy was violated.
        PolicyViolation = "policy_violation",
        /// A policy let the action through.
        PolicyAllow = "policy_allow",
        /// A guard stopped the action.
        GuardBlock = "guard_block",
        /// A guard warned and let it through.
        GuardWarn = "guard_warn",
        /// A secret was found.
        SecretDetected = "secret_detected",
        /// A network destination was refused.
        EgressBlocked = "egress_blocked",
        /// A protected path was touched.
        ForbiddenPath = "forbidden_path",
        /// A patch was refused.
        PatchRejected = "patch_rejected",
        /// A session began.
        SessionStart = "session_start",
        /// A session ended.
        SessionEnd = "session_end",
        /// Retention took events from an exporter; shrike itself says so.
        ExportGap = "export_gap",
    }
}

words! {
    /// Which area the event belongs to.
    Category {
        /// Who somebody is.
        Authentication = "authentication",
        /// What somebody may do.
        Authorization = "authorization",
        /// Files.
        File = "file",
        /// The network.
        Network = "network",
        /// Processes.
        Process = "process",
        /// Configuration.
        Configuration = "configuration",
        /// Tools of an agent.
        Tool = "tool",
        /// Sessions.
        Session = "session",
    }
}

words! {
    /// How the action ended.
    Outcome {
        /// It was done.
        Success = "success",
        /// It was not.
        Failure = "failure",
        /// Nobody can tell.
        Unknown = "unknown",
    }
}

words! {
    /// Kind of the resource.
    ResourceType {
        /// A file.
        File = "file",
        /// A network destination.
        Network = "network",
        /// A process.
        Process = "process",
        /// A tool of an agent.
        Tool = "tool",
        /// Configuration.
        Configuration = "configuration",
    }
}

words! {
    /// Kind of the threat indicator.
    IndicatorType {
        /// A domain name.
        Domain = "domain",
        /// A path of a file.
        FilePath = "file_path",
        /// A pattern of text.
        Pattern = "pattern",
        /// An IP address.
        Ip = "ip",
        /// A URL.
        Url = "url",
        /// A hash of a file.
        FileHash = "file_hash",
        /// A name of a file.
        FileName = "file_name",
    }
}

/// How bad an event is: the only scale, ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Severity {
    /// Nothing to do.
    #[default]
    Info,
    /// Good to know.
    Low,
    /// Look at it.
    Medium,
    /// Act on it.
    High,
    /// Act on it now.
    Critical,
}

impl Severity {
    /// Every step, ascending.
    pub const ALL: &[Self] = &[Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Reads a severity word or one of its input aliases, in any case (`canonical-event.md`,
    /// Severity).
    #[must_use]
    pub fn parse(word: &[u8]) -> Option<Self> {
        const WORDS: &[(&[u8], Severity)] = &[
            (b"info", Severity::Info),
            (b"low", Severity::Low),
            (b"medium", Severity::Medium),
            (b"high", Severity::High),
            (b"critical", Severity::Critical),
            (b"informational", Severity::Info),
            (b"warning", Severity::Medium),
            (b"warn", Severity::Medium),
            (b"error", Severity::High),
        ];
        WORDS
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name))
            .map(|&(_, severity)| severity)
    }

    /// The wire word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
