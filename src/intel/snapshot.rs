//! What is known at one moment, ready to be asked.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lookup::{Key, Prefix, Refused, Table, host_of};
use super::pattern::{Sign, SignKind};
use super::stamp;
use super::stix::Tlp;
use crate::event::Time;

/// Feeds that a match names at most (`threat-intel.md`, Cache).
pub const SOURCES_MAX: usize = 8;

/// A value that one or several feeds warn of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What the indicator is of.
    pub kind: SignKind,
    /// Its value, as the feed writes it.
    pub value: String,
    /// The names of the feeds that tell it; the one that is surest first, at most [`SOURCES_MAX`].
    pub sources: Vec<Arc<str>>,
    /// How sure the surest of them is, 0 to 100.
    pub confidence: u8,
    /// Until when it is told; after that nothing matches it.
    pub until: Time,
    /// What the surest of them says of it.
    pub about: Arc<About>,
}

/// What an indicator says of itself, and what its feed links with it. Only the former is written to
/// the cache's file, beside its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its STIX id.
    #[serde(skip)]
    pub id: String,
    /// What it is called.
    pub name: Option<String>,
    /// What it shows: `indicator_types`, or the labels of STIX 2.0.
    pub labels: Vec<String>,
    /// Framework and phase of each step of an attack that it belongs to (`kill_chain_phases`), its
    /// own before those of its techniques.
    pub phases: Vec<(String, String)>,
    /// The ATT&CK techniques that it is linked with.
    #[serde(skip)]
    pub techniques: Vec<Technique>,
    /// Who is behind it.
    #[serde(skip)]
    pub actor: Option<String>,
    /// The campaign that it belongs to.
    #[serde(skip)]
    pub campaign: Option<String>,
    /// The malware that it shows.
    #[serde(skip)]
    pub malware: Option<String>,
    /// Until when the feed says that it holds.
    #[serde(with = "stamp::option")]
    pub valid_until: Option<Time>,
    /// How far its text may travel.
    #[serde(skip)]
    pub tlp: Option<Tlp>,
    /// Whether its name, labels and the like may be copied into exported events (`export_tlp`).
    /// Actor, campaign, malware and techniques whose own marking forbids it are not here at all.
    #[serde(skip)]
    pub may_export: bool,
}

/// A technique of ATT&CK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Technique {
    /// Its id: `T1566.001`.
    pub id: String,
    /// What it is called.
    pub name: String,
}

/// One value of one indicator of one feed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The value.
    pub sign: Sign,
    /// The feed's name.
    pub source: Arc<str>,
    /// How sure it is, 0 to 100.
    pub confidence: u8,
    /// Whether it says that the value is good.
    pub is_benign: bool,
    /// Until when it holds.
    pub until: Time,
    /// What it says.
    pub about: Arc<About>,
}

/// What no indicator applies to: one of `never_block`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed(Key);

impl Allowed {
    /// A domain with all below it (`*.` and `.` before it: only what is below), an address, a
    /// prefix in CIDR notation, or a URL, which stands for its host.
    ///
    /// # Errors
    /// When it is none of them, or every address there is.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let text = text.trim();
        if text.contains("://") {
            return host_of(text).ok_or(Refused::Malformed).and_then(|host| Self::parse(&host));
        }
        match Prefix::parse(text) {
            Err(Refused::Malformed) => {
                Key::any_domain(text.strip_prefix('*').unwrap_or(text)).map(Self)
            }
            prefix => prefix.map(Key::Prefix).map(Self),
        }
    }
}

/// How a snapshot is asked.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What no indicator applies to.
    pub never_block: Vec<Allowed>,
    /// Whether the indicator of a URL is one of its host.
    pub url_host_blocking: bool,
}

/// What is known at one moment; it is never changed, an update is another one.
#[derive(Debug, Default)]
pub struct Snapshot {
    table: Table<Found>,
    never_block: Table<()>,
    sizes: [u64; SignKind::ALL.len()],
}

/// What is known of a value.
#[derive(Clone, Debug)]
enum Found {
    Bad(Match),
    /// Good until then.
    Benign(Time),
}

impl Snapshot {
    /// A snapshot of what feeds list; what cannot be looked for is left out.
    ///
    /// Of equal values the surest feed is heard, and all are named. A value that a feed calls good
    /// is not warned of by it or by others.
    pub fn new(listed: impl IntoIterator<Item = Listed>, rules: &Rules) -> Self {
        let mut found: HashMap<Key, Found> = HashMap::new();
        let mut sizes = [0; SignKind::ALL.len()];
        for listed in listed {
            let Ok(key) = Key::new(&listed.sign) else { continue };
            if rules.url_host_blocking && !listed.is_benign && listed.sign.kind == SignKind::Url {
                let host = host_of(&listed.sign.value);
                let host =
                    host.map(|host| Sign { kind: SignKind::Domain, value: host.into_owned() });
                if let Some(Ok(host)) = host.as_ref().map(Key::new) {
                    put(found.entry(host), listed.clone());
                }
            }
            let kind = listed.sign.kind;
            if put(found.entry(key), listed) {
                sizes[kind.position()] += 1;
            }
        }
        let never = rules.never_block.iter().map(|allowed| (allowed.0.clone(), ()));
        Self { table: Table::new(found), never_block: Table::new(never), sizes }
    }

    /// What is known of a value, the surest first; nothing where `never_block` has it.
    ///
    /// A domain is found by its own name and by those above it, a URL also by its host. What a feed
    /// calls good hides what fits less closely: a benign domain hides a bad one above it, not one
    /// below.
    #[must_use]
    pub fn check(&self, kind: SignKind, value: &str, now: Time) -> Vec<&Match> {
        let host = if kind == SignKind::Url { host_of(value.trim()) } else { None };
        let host = host.as_deref();
        let of_host = host.map(|host| self.table.find(SignKind::Domain, host));
        let found = self.table.find(kind, value).into_iter().chain(of_host.into_iter().flatten());
        let mut matches: Vec<&Match> = Vec::new();
        for found in found {
            match found {
                Found::Benign(until) if *until > now => break,
                Found::Bad(it) if it.until > now => {
                    let is_told = matches.iter().any(|other| other.about.id == it.about.id);
                    if !is_told {
                        matches.push(it);
                    }
                }
                Found::Benign(_) | Found::Bad(_) => {}
            }
        }
        // Last, since most values match nothing.
        let is_host = matches!(kind, SignKind::Domain | SignKind::Ip).then_some(value);
        let asked = host.or(is_host).filter(|_| !matches.is_empty());
        if asked.is_some_and(|it| !self.never_block.find(SignKind::Domain, it).is_empty()) {
            return Vec::new();
        }
        matches.sort_by_key(|it| Reverse(it.confidence));
        matches
    }

    /// Whether nothing at all is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sizes.iter().all(|&size| size == 0)
    }

    /// How many values of a kind are known.
    #[must_use]
    pub fn size(&self, kind: SignKind) -> u64 {
        self.sizes[kind.position()]
    }
}

/// Adds what a feed says of a value; says whether the value is a new one.
fn put(entry: Entry<'_, Key, Found>, listed: Listed) -> bool {
    let Listed { sign, source, confidence, is_benign, until, about } = listed;
    let Entry::Occupied(mut entry) = entry else {
        entry.insert_entry(match is_benign {
            true => Found::Benign(until),
            false => Found::Bad(Match {
                kind: sign.kind,
                value: sign.value,
                sources: vec![source],
                confidence,
                until,
                about,
            }),
        });
        return true;
    };
    match entry.get_mut() {
        Found::Benign(known) if is_benign => *known = until.max(*known),
        Found::Benign(_) => {}
        found if is_benign => *found = Found::Benign(until),
        Found::Bad(known) => {
            let is_surer = (confidence, until) > (known.confidence, known.until);
            known.sources.retain(|it| *it != source || !is_surer);
            let is_named = known.sources.contains(&source);
            match (is_surer, is_named) {
                (true, _) => known.sources.insert(0, source),
                (false, false) => known.sources.push(source),
                (false, true) => {}
            }
            known.sources.truncate(SOURCES_MAX);
            if is_surer {
                (known.kind, known.value) = (sign.kind, sign.value);
                (known.confidence, known.about) = (confidence, about);
            }
            known.until = until.max(known.until);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use SignKind::{Domain, FileHash, Ip, Path, Url};

    const NOW: Time = Time { secs: 1_000, nanos: 0 };

    fn listed(kind: SignKind, value: &str, source: &str, confidence: u8) -> Listed {
        Listed {
            sign: Sign { kind, value: value.to_owned() },
            source: Arc::from(source),
            confidence,
            is_benign: false,
            until: Time { secs: 2_000, nanos: 0 },
            about: Arc::new(About { id: format!("{source}/{value}"), ..About::default() }),
        }
    }

    fn benign(kind: SignKind, value: &str) -> Listed {
        Listed { is_benign: true, ..listed(kind, value, "good", 50) }
    }

    fn ids(snapshot: &Snapshot, kind: SignKind, value: &str) -> Vec<String> {
        snapshot.check(kind, value, NOW).iter().map(|it| it.about.id.clone()).collect()
    }

    #[test]
    fn the_surest_comes_first_and_is_named_once() {
        let bad = [
            listed(Domain, "a.example", "x", 90),
            listed(Domain, "b.a.example", "x", 40),
            listed(Url, "http://c.b.a.example/p", "x", 60),
        ];
        let snapshot = Snapshot::new(bad, &Rules::default());
        assert_eq!(ids(&snapshot, Domain, "c.b.a.example"), ["x/a.example", "x/b.a.example"]);
        let of_url = ids(&snapshot, Url, "http://c.b.a.example/p/q");
        assert_eq!(of_url, ["x/a.example", "x/http://c.b.a.example/p", "x/b.a.example"]);
        assert_eq!(snapshot.size(Domain), 2);
    }

    #[test]
    fn equal_values_of_several_feeds_are_one() {
        let mut bad: Vec<Listed> =
            (0..12).map(|n| listed(Domain, "a.example", &format!("f{n}"), 10 + n)).collect();
        bad.push(listed(Domain, "A.example.", "f11", 5));
        let snapshot = Snapshot::new(bad, &Rules::default());
        let [found] = snapshot.check(Domain, "a.example", NOW)[..] else { panic!("not one") };
        assert_eq!((found.confidence, &*found.about.id), (21, "f11/a.example"));
        let sources: Vec<&str> = found.sources.iter().map(|it| &**it).collect();
        assert_eq!(sources, ["f11", "f10", "f9", "f8", "f7", "f6", "f5", "f4"]);
        assert_eq!(snapshot.size(Domain), 1);
    }

    #[test]
    fn what_is_over_is_not_told() {
        let snapshot = Snapshot::new([listed(Ip, "192.0.2.1", "x", 50)], &Rules::default());
        let at = |secs| snapshot.check(Ip, "192.0.2.1", Time { secs, nanos: 0 }).len();
        assert_eq!((at(1_999), at(2_000)), (1, 0));
    }

    #[test]
    fn what_is_good_hides_what_fits_less_closely() {
        let mut over = benign(Ip, "192.0.2.0/25");
        over.until = NOW;
        let all = [
            listed(Domain, "example.org", "x", 50),
            benign(Domain, "good.example.org"),
            listed(Domain, "bad.good.example.org", "x", 50),
            listed(Ip, "192.0.2.0/24", "x", 50),
            over,
            listed(FileHash, &"0".repeat(64), "x", 99),
            benign(FileHash, &"0".repeat(64)),
        ];
        for order in [false, true] {
            let mut all = all.to_vec();
            if order {
                all.reverse();
            }
            let snapshot = Snapshot::new(all, &Rules::default());
            let found = |kind, value: &str| snapshot.check(kind, value, NOW).len();
            assert_eq!(found(Domain, "other.example.org"), 1);
            assert_eq!(found(Domain, "good.example.org"), 0);
            assert_eq!(found(Domain, "a.good.example.org"), 0);
            assert_eq!(found(Url, "https://a.good.example.org/x"), 0);
            assert_eq!(found(Domain, "bad.good.example.org"), 1);
            assert_eq!(found(Ip, "192.0.2.1"), 1);
            assert_eq!(found(FileHash, &"0".repeat(64)), 0);
        }
    }

    #[test]
    fn what_is_never_blocked_wins() {
        let never_block =
            ["localhost", "*.corp.example", "10.0.0.0/8", "https://siem.example:8088/x"]
                .map(|text| Allowed::parse(text).expect(text));
        let rules = Rules { never_block: never_block.to_vec(), url_host_blocking: false };
        let all = [
            listed(Domain, "corp.example", "x", 50),
            listed(Domain, "a.corp.example", "x", 50),
            listed(Domain, "siem.example", "x", 50),
            listed(Ip, "10.1.2.3", "x", 50),
            listed(Url, "http://10.1.2.3/a", "x", 50),
            listed(Url, "http://localhost/a", "x", 50),
            listed(Path, "/tmp", "x", 50),
        ];
        let snapshot = Snapshot::new(all, &rules);
        let rows = [
            (Domain, "corp.example", 1),
            (Domain, "a.corp.example", 0),
            (Domain, "b.a.corp.example", 0),
            (Url, "https://b.a.corp.example/", 0),
            (Domain, "siem.example", 0),
            (Ip, "10.1.2.3", 0),
            (Ip, "::ffff:10.1.2.3", 0),
            (Domain, "10.1.2.3", 0),
            (Url, "http://10.1.2.3/a", 0),
            (Url, "http://localhost/a", 0),
            (Path, "/tmp/a", 1),
        ];
        for (kind, value, expected) in rows {
            assert_eq!(snapshot.check(kind, value, NOW).len(), expected, "{value}");
        }
        for text in ["", "0.0.0.0/0", "a b", "https://", "1.2.3.4/40"] {
            assert!(Allowed::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_blocks_its_host_only_where_asked() {
        let url = || [listed(Url, "https://files.example/evil", "x", 50)];
        let rules = |url_host_blocking| Rules { never_block: Vec::new(), url_host_blocking };
        let snapshot = Snapshot::new(url(), &rules(false));
        assert!(snapshot.check(Domain, "files.example", NOW).is_empty());
        assert!(snapshot.check(Url, "https://files.example/good", NOW).is_empty());
        let snapshot = Snapshot::new(url(), &rules(true));
        assert_eq!(ids(&snapshot, Domain, "files.example"), ["x/https://files.example/evil"]);
        assert_eq!(ids(&snapshot, Url, "https://files.example/evil").len(), 1);
        assert_eq!((snapshot.size(Url), snapshot.size(Domain)), (1, 0));
    }
}
