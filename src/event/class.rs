//! Classes of input that is not clean: what is flagged and what is rejected.

/// Declares the classes with their names and what becomes of the record.
macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident = $word:literal => $treatment:ident,)*) => {
        /// A class of input that is not clean (`inputs.md`, section 8).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Class { $($(#[$doc])* $name,)* }

        impl Class {
            /// Every class.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name, as flags, counters and quarantine write it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What usually becomes of such a record.
            #[must_use]
            pub const fn treatment(self) -> Treatment {
                match self { $(Self::$name => Treatment::$treatment,)* }
            }
        }
    };
}

/// What becomes of a record of some class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Delivered, with a flag in `metadata.shrike.flags`, and counted.
    Flag,
    /// Kept in quarantine and counted.
    Reject,
    /// Nothing to deliver; not an error.
    Skip,
    /// Not complete yet.
    Wait,
}

classes! {
    /// An empty line.
    Blank = "blank" => Skip,
    /// The same event again, within the window.
    Duplicate = "duplicate" => Skip,
    /// No newline yet.
    PartialLine = "partial_line" => Wait,
    /// A byte order mark at the start of the file.
    Bom = "bom" => Flag,
    /// Several complete objects on one line.
    TrailingData = "trailing_data" => Flag,
    /// Bytes that are not UTF-8; replaced inside strings, else rejected.
    InvalidUtf8 = "invalid_utf8" => Flag,
    /// Half of a surrogate pair; replaced.
    LoneSurrogate = "lone_surrogate" => Flag,
    /// NUL bytes before the object; stripped, rejected when there is nothing else.
    NulBytes = "nul_bytes" => Flag,
    /// A blank required string.
    EmptyField = "empty_field" => Flag,
    /// An optional value that cannot be used.
    OutOfRange = "out_of_range" => Flag,
    /// A time without a zone; taken as UTC.
    TimestampNoZone = "timestamp_no_zone" => Flag,
    /// A number in another unit than expected.
    TimestampUnit = "timestamp_unit" => Flag,
    /// A time far from the moment of receipt.
    ClockSkew = "clock_skew" => Flag,
    /// A word outside an enumeration; kept.
    UnknownEnum = "unknown_enum" => Flag,
    /// Another major version, or unknown members at the top.
    UnknownSchemaVersion = "unknown_schema_version" => Flag,
    /// The same id with other bytes; the later one gets a derived id.
    DuplicateId = "duplicate_id" => Flag,
    /// A key twice in one object; the last wins.
    DuplicateKey = "duplicate_key" => Flag,
    /// Metadata that is encrypted at its source.
    EncryptedMetadata = "encrypted_metadata" => Flag,
    /// Allowed and failed, or denied and succeeded.
    InconsistentOutcome = "inconsistent_outcome" => Flag,
    /// A label whose value is no string; made one.
    LabelType = "label_type" => Flag,
    /// Not JSON.
    JsonSyntax = "json_syntax" => Reject,
    /// JSON, but no object.
    NotObject = "not_object" => Reject,
    /// Nested deeper than 128.
    DepthExceeded = "depth_exceeded" => Reject,
    /// Longer than the limit.
    Oversize = "oversize" => Reject,
    /// No dialect matches.
    UnknownFormat = "unknown_format" => Reject,
    /// A required key is absent.
    MissingField = "missing_field" => Reject,
    /// A required value of the wrong type.
    WrongType = "wrong_type" => Reject,
    /// Not a time.
    BadTimestamp = "bad_timestamp" => Reject,
    /// The frame or its payload is damaged.
    Corrupt = "corrupt" => Reject,
    /// From a stream that tells neither id nor time.
    Thin = "thin" => Flag,
    /// Opening it met a defect of shrike, which its log tells of.
    Defect = "defect" => Reject,
}

const _: () = assert!(Class::ALL.len() <= 32, "class sets are 32-bit masks");

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u32);

impl Classes {
    /// No class.
    pub const NONE: Self = Self(0);

    /// The set with these bits, as a frame stores them.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits, as a frame stores them.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Adds a class.
    pub const fn insert(&mut self, class: Class) {
        self.0 |= 1 << class as u32;
    }

    /// The classes of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the class is in the set.
    #[must_use]
    pub const fn contains(self, class: Class) -> bool {
        self.0 & (1 << class as u32) != 0
    }

    /// Whether no class is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The classes in the set, in order.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.iter().copied().filter(move |&class| self.contains(class))
    }
}
