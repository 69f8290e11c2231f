//! Filters (`pipeline.md`, Filtering): which events an exporter takes, all conditions together.
//!
//! An exporter's filter has layers: the rules for all exporters, its own, and what the top-level
//! routing chose for it. All are compiled once; asking them allocates nothing.

use std::net::IpAddr;

use super::{Condition, Name, json};
use crate::event::{Event, FieldId as F, Severity};

/// The keys of `filtering` and `filter`; an empty list restricts nothing, and exclude wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterRules {
    /// Events below are left out.
    pub min_severity: Severity,
    /// Only these event types.
    pub include_types: Vec<String>,
    /// Not these event types.
    pub exclude_types: Vec<String>,
    /// Only decisions of these guards.
    pub include_guards: Vec<String>,
    /// No decisions of these guards.
    pub exclude_guards: Vec<String>,
    /// Only events of these tenants.
    pub include_tenants: Vec<String>,
    /// No events of these tenants.
    pub exclude_tenants: Vec<String>,
    /// Only events whose action was not let through.
    pub only_denied: bool,
    /// Only events where at least so many items were sanitised (`metadata.velar.sanitized_count`).
    pub min_sanitized_count: u64,
    /// Only these hosts and their subdomains; letter case and a leading `*.` mean nothing.
    pub domains: Vec<String>,
    /// No resource whose path begins so.
    pub exclude_paths: Vec<String>,
    /// No loopback and no health-check traffic.
    pub exclude_internal: bool,
}

/// Everything that decides whether an exporter takes an event, compiled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All of them must let an event through; layers without a restriction are left out.
    layers: Vec<Layer>,
    choice: Option<Choice>,
}

/// What the top-level rules mean for one exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// In order.
    pub rules: Vec<ChoiceRule>,
    /// Whether the exporter takes events that no rule is for.
    pub otherwise: bool,
}

/// One top-level rule, as one exporter sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChoiceRule {
    /// Which events it is for.
    pub condition: Condition,
    /// Whether it names the exporter.
    pub takes: bool,
    /// Whether rules after it are not asked about these events.
    pub stops: bool,
}

/// Compiled rules.
#[derive(Clone, Debug, PartialEq)]
struct Layer {
    rules: FilterRules,
    /// Lower case, without `*.` in front and a dot behind.
    domains: Vec<String>,
    sanitized_count: Name,
}

impl Filter {
    /// Prepares the rules.
    #[must_use]
    pub fn new(rules: FilterRules) -> Self {
        Self::default().and(rules)
    }

    /// The same, with further rules that an event must pass too.
    #[must_use]
    pub fn and(mut self, rules: FilterRules) -> Self {
        if rules != FilterRules::default() {
            self.layers.push(Layer::new(rules));
        }
        self
    }

    /// The same, for an exporter that top-level rules choose.
    #[must_use]
    pub fn chosen_by(mut self, choice: Choice) -> Self {
        let is_always = choice.otherwise && choice.rules.iter().all(|rule| rule.takes);
        self.choice = (!is_always).then_some(choice);
        self
    }

    /// Whether every event is let through.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.layers.is_empty() && self.choice.is_none()
    }

    /// Whether the event is let through.
    #[must_use]
    pub fn passes(&self, event: &Event<'_>) -> bool {
        self.layers.iter().all(|layer| layer.passes_typed(event))
            && self.layers.iter().all(|layer| layer.passes_texts(event))
            && self.choice.as_ref().is_none_or(|choice| choice.takes(event))
    }
}

impl Choice {
    fn takes(&self, event: &Event<'_>) -> bool {
        let mut is_for_others = false;
        for rule in &self.rules {
            if rule.condition.holds(event) {
                if rule.takes || rule.stops {
                    return rule.takes;
                }
                is_for_others = true;
            }
        }
        self.otherwise && !is_for_others
    }
}

impl Layer {
    fn new(rules: FilterRules) -> Self {
        let domain = |domain: &String| {
            let name = domain.strip_prefix("*.").unwrap_or(domain);
            name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
        };
        Self {
            domains: rules.domains.iter().map(domain).collect(),
            sanitized_count: Name::parse("metadata.velar.sanitized_count")
                .expect("a path inside metadata is a name"),
            rules,
        }
    }

    fn passes_typed(&self, event: &Event<'_>) -> bool {
        event.opened.severity >= self.rules.min_severity
            && !(self.rules.only_denied && event.opened.allowed)
    }

    fn passes_texts(&self, event: &Event<'_>) -> bool {
        let rules = &self.rules;
        let listed = |include: &[String], exclude: &[String], field| {
            let text = event.text(field);
            (include.is_empty() || contains(include, text)) && !contains(exclude, text)
        };
        let host = event.text(F::ResourceHost);
        let path = event.text(F::ResourcePath);
        listed(&rules.include_types, &rules.exclude_types, F::EventType)
            && listed(&rules.include_guards, &rules.exclude_guards, F::Guard)
            && listed(&rules.include_tenants, &rules.exclude_tenants, F::SessionTenantId)
            && (self.domains.is_empty() || self.domains.iter().any(|domain| is_under(host, domain)))
            && !rules.exclude_paths.iter().any(|prefix| begins(path, prefix))
            && !(rules.exclude_internal && is_internal(host, path))
            && (rules.min_sanitized_count == 0
                || self.sanitized_count(event) >= rules.min_sanitized_count)
    }

    fn sanitized_count(&self, event: &Event<'_>) -> u64 {
        let value = self.sanitized_count.value(event);
        let digits = value.and_then(|value| std::str::from_utf8(value.text()).ok());
        // Some encoders write whole numbers with a fraction, or as texts.
        let whole = digits.and_then(|digits| digits.split('.').next());
        whole.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

fn contains(list: &[String], text: &[u8]) -> bool {
    list.iter().any(|entry| json::compare(text, entry).is_eq())
}

/// Whether the text begins with the prefix.
fn begins(text: &[u8], prefix: &str) -> bool {
    let mut chars = json::characters(text);
    prefix.chars().all(|wanted| chars.next() == Some(wanted))
}

/// Whether the host is the domain or below it.
fn is_under(host: &[u8], domain: &str) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    if memchr::memchr(b'\\', host).is_some() {
        return is_spelled_under(host, domain);
    }
    let Some(above) = host.len().checked_sub(domain.len()) else { return false };
    let (below, name) = host.split_at(above);
    name.eq_ignore_ascii_case(domain.as_bytes()) && (below.is_empty() || below.ends_with(b"."))
}

/// The same of a host that is spelled with escapes.
fn is_spelled_under(host: &[u8], domain: &str) -> bool {
    let lengths = (json::characters(host).count(), domain.chars().count());
    let Some(above) = lengths.0.checked_sub(lengths.1) else { return false };
    let mut below = json::characters(host).take(above);
    let name = json::characters(host).skip(above);
    name.map(|char| char.to_ascii_lowercase()).eq(domain.chars())
        && (above == 0 || below.nth(above - 1) == Some('.'))
}

/// Loopback addresses and names (RFC 6761, section 6.3), and the usual paths of health checks.
fn is_internal(host: &[u8], path: &[u8]) -> bool {
    const CHECKS: [&str; 7] =
        ["/health", "/healthz", "/livez", "/readyz", "/ready", "/live", "/ping"];
    let bare = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    let address = std::str::from_utf8(bare).ok().and_then(|host| host.parse::<IpAddr>().ok());
    let path = || json::characters(path).take_while(|char| *char != '?');
    address.is_some_and(|address| address.to_canonical().is_loopback())
        || is_under(host, "localhost")
        || CHECKS.iter().any(|check| check.chars().eq(path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Frame, Opened, Opening, OpeningOptions};

    const RECORD: &str = concat!(
        r#"{"schema_version":"1.0.0","event_id":"019c322d-fa80-7f99-8d84-b44109f58c77","#,
        r#""event_type":"egress_blocked","event_category":"network","#,
        r#""timestamp":"2026-02-06T12:00:00Z","#,
        r#""agent":{"id":"a-1","name":"hushd","version":"0.1.0","type":"clawdstrike"},"#,
        r#""session":{"id":"s-1","tenant_id":"acme"},"#,
        r#""outcome":"failure","action":"egress","threat":{},"#,
        r#""decision":{"allowed":false,"guard":"egress","severity":"medium","reason":"r"},"#,
        r#""resource":{"type":"network","#,
        r#""name":"x","host":"API.Example.com.","path":"/v1/chat?x"},"#,
        r#""metadata":{"velar":{"sanitized_count":2}},"labels":{}}"#,
    );

    fn passes(change: impl FnOnce(&mut FilterRules), host: &str, path: &str) -> bool {
        let mut rules = FilterRules::default();
        change(&mut rules);
        lets_through(&Filter::new(rules), host, path)
    }

    fn lets_through(filter: &Filter, host: &str, path: &str) -> bool {
        takes(filter, &RECORD.replace("API.Example.com.", host).replace("/v1/chat?x", path))
    }

    fn takes(filter: &Filter, record: &str) -> bool {
        let opening = Opening::new(&OpeningOptions::default());
        let (frame, record) = (Frame::default(), record.as_bytes());
        let (mut arena, mut opened) = (Vec::new(), Opened::default());
        opening.begin(&mut arena);
        opening.open(&frame, record, &mut arena, &mut opened).expect("the record is an event");
        filter.passes(&Event::new(&opened, frame, record, &arena))
    }

    #[test]
    fn the_first_rule_that_matches_chooses() {
        // The event is a denied one of guard egress.
        type Rule = (&'static str, bool, bool);
        let rule = |(text, takes, stops): &Rule| {
            let condition = Condition::compile(text).expect("it compiles");
            ChoiceRule { condition, takes: *takes, stops: *stops }
        };
        let no = "guard == 'other'";
        let yes = "guard == 'egress'";
        let cases: &[(&[Rule], bool, bool)] = &[
            (&[], true, true),
            (&[], false, false),
            (&[(yes, true, true)], false, true),
            (&[(yes, false, true)], true, false),
            (&[(no, true, true)], false, false),
            (&[(no, false, true)], true, true),
            (&[(yes, false, true), (yes, true, true)], false, false),
            (&[(yes, false, false), (yes, true, true)], false, true),
            (&[(yes, false, false), (no, true, true)], true, false),
            (&[(no, true, true), ("default", true, true)], false, true),
            (&[(no, false, true), ("default", false, true)], true, false),
        ];
        for (rules, otherwise, expected) in cases {
            let choice = Choice { rules: rules.iter().map(rule).collect(), otherwise: *otherwise };
            let filter = Filter::default().chosen_by(choice);
            assert_eq!(lets_through(&filter, "x", "/"), *expected, "{rules:?} {otherwise}");
            assert_eq!(filter.is_open(), rules.is_empty() && *otherwise, "{rules:?}");
        }
    }

    #[test]
    fn all_layers_must_let_an_event_through() {
        let open = FilterRules::default();
        let denied = FilterRules { only_denied: true, ..FilterRules::default() };
        let other = FilterRules { exclude_paths: vec!["/v1".to_owned()], ..denied.clone() };
        let passes = |a: &FilterRules, b: &FilterRules| {
            lets_through(&Filter::new(a.clone()).and(b.clone()), "x", "/v1")
        };
        assert!(Filter::new(open.clone()).and(open.clone()).is_open());
        assert!(passes(&denied, &open) && passes(&open, &denied) && passes(&denied, &denied));
        assert!(!passes(&denied, &other) && !passes(&other, &denied));
    }

    type Change = fn(&mut FilterRules);

    #[test]
    fn each_rule_lets_through_or_leaves_out() {
        let list = |text: &str| vec![text.to_owned()];
        let cases: [(Change, bool); 15] = [
            (|_| {}, true),
            (|rules| rules.min_severity = Severity::Medium, true),
            (|rules| rules.min_severity = Severity::High, false),
            (|rules| rules.only_denied = true, true),
            (|rules| rules.include_types = vec!["egress_blocked".to_owned()], true),
            (|rules| rules.include_types = vec!["guard_warn".to_owned()], false),
            (|rules| rules.exclude_types = vec!["egress_blocked".to_owned()], false),
            (|rules| rules.include_guards = vec!["x".to_owned(), "egress".to_owned()], true),
            (|rules| rules.exclude_guards = vec!["egress".to_owned()], false),
            (|rules| rules.include_tenants = vec!["acme".to_owned()], true),
            (|rules| rules.exclude_tenants = vec!["acme".to_owned()], false),
            (|rules| rules.min_sanitized_count = 2, true),
            (|rules| rules.min_sanitized_count = 3, false),
            (|rules| rules.exclude_paths = vec!["/v1/".to_owned()], false),
            (|rules| rules.exclude_paths = vec!["/v2".to_owned()], true),
        ];
        for (at, (change, expected)) in cases.into_iter().enumerate() {
            assert_eq!(passes(change, "API.Example.com.", "/v1/chat?x"), expected, "case {at}");
        }
        for (spelled, min, expected) in
            [("3.0", 3, true), ("3.5", 4, false), ("\"3\"", 3, true), ("null", 1, false)]
        {
            let mut rules = FilterRules { min_sanitized_count: min, ..FilterRules::default() };
            rules.exclude_paths = list("/v2");
            let record =
                RECORD.replace("\"sanitized_count\":2", &format!("\"sanitized_count\":{spelled}"));
            assert_eq!(takes(&Filter::new(rules), &record), expected, "{spelled} {min}");
        }
        let both = |rules: &mut FilterRules| {
            rules.include_guards = list("egress");
            rules.exclude_guards = list("egress");
        };
        assert!(!passes(both, "x", "/"), "exclude wins");
    }

    #[test]
    fn domains_take_their_subdomains_in_any_case() {
        for (domain, host, expected) in [
            ("example.com", "API.Example.com.", true),
            ("*.EXAMPLE.com", "example.com", true),
            ("api.example.com", "example.com", false),
            ("ample.com", "example.com", false),
            ("example.com.", "a.b.example.com", true),
            // Producers may spell what is not ASCII, and slashes, with escapes.
            ("b\u{fc}cher.example", "Shop.b\\u00fccher.example.", true),
            ("b\u{fc}cher.example", "b\\u00fccher.Example", true),
            ("cher.example", "b\\u00fccher.example", false),
            ("example", "b\\u00fccher.example", true),
        ] {
            let change = |rules: &mut FilterRules| rules.domains = vec![domain.to_owned()];
            assert_eq!(passes(change, host, "/"), expected, "{domain} {host}");
        }
    }

    #[test]
    fn internal_traffic_is_loopback_and_health_checks() {
        for (host, path, passes_) in [
            ("localhost", "/", false),
            ("api.localhost", "/", false),
            ("127.0.0.53", "/", false),
            ("[::1]", "/", false),
            ("::ffff:127.0.0.1", "/", false),
            ("example.com", "/healthz?full=1", false),
            ("example.com", "\\/healthz?full=1", false),
            ("example.com", "/healthy", true),
            ("10.0.0.1", "/v1", true),
        ] {
            let change = |rules: &mut FilterRules| rules.exclude_internal = true;
            assert_eq!(passes(change, host, path), passes_, "{host} {path}");
        }
    }
}
