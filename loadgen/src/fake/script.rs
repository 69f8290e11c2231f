//! Fault scripts: what a fake does to its clients, when, and how often.
//!
//! A script is a list of rules, one per line or separated by `;`, `#` starts a comment. A rule is
//! conditions followed by one action; every rule whose conditions hold applies to a request, and
//! of several that contradict the first wins.

use std::time::Duration;

use crate::seed::Random;

/// A whole script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    rules: Vec<Rule>,
}

/// One rule: conditions, then an action.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    /// Since the script was set.
    from: Duration,
    /// Until then, not included.
    to: Duration,
    /// Requests since the script was set, from 0, `to` not included.
    requests: (u64, u64),
    /// Every how many requests.
    every: u64,
    /// How likely.
    chance: f64,
    /// A part of the path; every path when it is empty.
    on: String,
    action: Action,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Latency(Delay),
    Fault(Fault),
    SlowRead(u64),
    MaxBody(usize),
    Items(u16, f64),
    AckDelay(Duration),
    AckLost(f64),
    Refuse,
}

/// How long an answer takes.
#[derive(Clone, Debug, PartialEq)]
enum Delay {
    Between(Duration, Duration),
    Exponential(Duration),
}

/// What becomes of a request instead of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Answered with this status, not applied.
    Status(u16),
    /// Answered with 429 and this Retry-After, as seconds or as a date; not applied.
    Throttle {
        /// How long to wait.
        wait: Duration,
        /// As an HTTP date instead of seconds.
        date: bool,
    },
    /// Answered with a code of Splunk's table; one that means success is applied.
    Code(u16),
    /// The connection is reset before the body is read.
    ResetBefore,
    /// The body is applied, then the connection is reset.
    ResetAfter,
    /// Nothing is read or answered; reset after this time.
    Hang(Duration),
    /// Applied; no answer ever, the connection stays open for this time.
    Mute(Duration),
    /// Applied; the connection is closed without an answer.
    Lost,
    /// Answered as accepted, but neither stored nor ever acknowledged.
    Forget,
    /// The same, and the body is not even decompressed: the fake then costs next to nothing.
    Swallow,
    /// The server restarts: acknowledgement ids begin again, connections are reset.
    Restart,
}

/// What the script has in store for one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// How long the answer takes.
    pub delay: Duration,
    /// What happens instead of an answer.
    pub fault: Option<Fault>,
    /// Bytes a second at which the body is read.
    pub pace: Option<u64>,
    /// Bodies above this many bytes are refused with 413.
    pub body_bytes_max: Option<usize>,
    /// Single items fail with this status, this often.
    pub items: Option<(u16, f64)>,
    /// Acknowledgements become true only after this time.
    pub ack_delay: Duration,
    /// Acknowledgements of this share of requests never become true.
    pub ack_lost: f64,
}

/// Why a script cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault script, rule {rule} ({text:?}): {what}; see `loadgen fake --help` for the rules")]
pub struct ScriptError {
    /// Which rule, from 1.
    rule: usize,
    text: String,
    what: String,
}

impl Script {
    /// Reads a script.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let rules = lines.flat_map(|line| line.split(';')).map(str::trim);
        let rules = rules.filter(|rule| !rule.is_empty()).enumerate().map(|(at, rule)| {
            let error = |what| ScriptError { rule: at + 1, text: rule.to_owned(), what };
            Rule::parse(rule).map_err(error)
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// What happens to request number `request`, `elapsed` after the script was set.
    #[must_use]
    pub fn plan(&self, path: &str, request: u64, elapsed: Duration, random: &mut Random) -> Plan {
        let mut plan = Plan::default();
        for rule in &self.rules {
            if !path.contains(&rule.on) || !rule.holds(request, elapsed, random) {
                continue;
            }
            match &rule.action {
                Action::Latency(delay) => plan.delay += delay.draw(random),
                Action::Fault(fault) => {
                    plan.fault.get_or_insert_with(|| fault.clone());
                }
                Action::SlowRead(pace) => plan.pace = plan.pace.or(Some(*pace)),
                Action::MaxBody(bytes) => plan.body_bytes_max = Some(*bytes),
                Action::Items(status, share) => plan.items = Some((*status, *share)),
                Action::AckDelay(delay) => plan.ack_delay = *delay,
                Action::AckLost(share) => plan.ack_lost = *share,
                Action::Refuse => {}
            }
        }
        plan
    }

    /// Whether a connection that comes now is reset at once.
    #[must_use]
    pub fn refuses(&self, elapsed: Duration, random: &mut Random) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.action == Action::Refuse && rule.holds(0, elapsed, random))
    }
}

impl Rule {
    fn holds(&self, request: u64, elapsed: Duration, random: &mut Random) -> bool {
        elapsed >= self.from
            && elapsed < self.to
            && (self.requests.0..self.requests.1).contains(&request)
            && (request - self.requests.0).is_multiple_of(self.every)
            && (self.chance >= 1.0 || random.chance(self.chance))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let mut rule = Self {
            from: Duration::ZERO,
            to: Duration::MAX,
            requests: (0, u64::MAX),
            every: 1,
            chance: 1.0,
            on: String::new(),
            action: Action::Refuse,
        };
        loop {
            let word = words.next().ok_or("an action is missing")?;
            let mut next = || words.next().ok_or(format!("`{word}` needs a value"));
            match word {
                "from" => rule.from = duration(next()?)?,
                "to" => rule.to = duration(next()?)?,
                "every" => rule.every = number::<u64>(next()?)?.max(1),
                "chance" => rule.chance = share(next()?)?,
                "on" => rule.on = next()?.to_owned(),
                "requests" => {
                    let (from, to) =
                        next()?.split_once("..").ok_or("`requests` needs a range like 10..20")?;
                    rule.requests.0 = if from.is_empty() { 0 } else { number(from)? };
                    rule.requests.1 = if to.is_empty() { u64::MAX } else { number(to)? };
                }
                _ => {
                    let rest: Vec<&str> = words.collect();
                    rule.action = action(word, &rest)?;
                    return Ok(rule);
                }
            }
        }
    }
}

fn action(word: &str, rest: &[&str]) -> Result<Action, String> {
    let fault = |fault| Ok(Action::Fault(fault));
    match (word, rest) {
        ("latency", ["exp", mean]) => Ok(Action::Latency(Delay::Exponential(duration(mean)?))),
        ("latency", [range]) => {
            let (low, high) = range.split_once("..").unwrap_or((range, range));
            Ok(Action::Latency(Delay::Between(duration(low)?, duration(high)?)))
        }
        ("status", [status]) => fault(Fault::Status(number(status)?)),
        ("code", [code]) => fault(Fault::Code(number(code)?)),
        ("auth", []) => fault(Fault::Status(401)),
        ("throttle", [wait]) => fault(Fault::Throttle { wait: duration(wait)?, date: false }),
        ("throttle", [wait, "date"]) => {
            fault(Fault::Throttle { wait: duration(wait)?, date: true })
        }
        ("reset", ["before"]) => fault(Fault::ResetBefore),
        ("reset", ["after"]) => fault(Fault::ResetAfter),
        ("hang", []) => fault(Fault::Hang(FOREVER)),
        ("hang", [time]) => fault(Fault::Hang(duration(time)?)),
        ("mute", []) => fault(Fault::Mute(FOREVER)),
        ("mute", [time]) => fault(Fault::Mute(duration(time)?)),
        ("lost", []) => fault(Fault::Lost),
        ("forget", []) => fault(Fault::Forget),
        ("swallow", []) => fault(Fault::Swallow),
        ("restart", []) => fault(Fault::Restart),
        ("refuse", []) => Ok(Action::Refuse),
        ("slow-read", [pace]) => Ok(Action::SlowRead(number(pace)?)),
        ("max-body", [bytes]) => Ok(Action::MaxBody(number(bytes)?)),
        ("items", [status, part]) => Ok(Action::Items(number(status)?, share(part)?)),
        ("ack-delay", [delay]) => Ok(Action::AckDelay(duration(delay)?)),
        ("ack-lost", [part]) => Ok(Action::AckLost(share(part)?)),
        _ => Err(format!("no condition or action is spelled `{word} {}`", rest.join(" "))),
    }
}

impl Delay {
    fn draw(&self, random: &mut Random) -> Duration {
        match self {
            Self::Between(low, high) => *low + high.saturating_sub(*low).mul_f64(random.unit()),
            // Cut at ten times the mean: one draw in 22,000 is beyond, and a test must end.
            Self::Exponential(mean) => mean.mul_f64((-(1.0 - random.unit()).ln()).min(10.0)),
        }
    }
}

/// Reads `250us`, `5ms`, `2s`, `1.5s`, `3m` or a number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    let (digits, unit) = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .unwrap_or((text, &1.0));
    let value: f64 = digits.parse().map_err(|_| expected_duration(text))?;
    Duration::try_from_secs_f64(value * unit).map_err(|_| expected_duration(text))
}

fn expected_duration(text: &str) -> String {
    format!("`{text}` is no duration; expected something like 250us, 5ms, 2s or 3m")
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no whole number that fits here"))
}

fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| format!("`{text}` is no share; expected a number from 0 to 1"))
}

/// Longer than any run.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(script: &str, request: u64, elapsed_ms: u64) -> Plan {
        let script = Script::parse(script).expect(script);
        script.plan("/_bulk", request, Duration::from_millis(elapsed_ms), &mut Random::new(1))
    }

    #[test]
    fn a_rule_holds_only_inside_its_conditions() {
        let script = "from 1s to 2s requests 10..20 every 5 status 503";
        let cases = [(10, 1_000, true), (15, 1_999, true), (12, 1_500, false)];
        let outside = [(9, 1_500, false), (20, 1_500, false), (10, 999, false), (10, 2_000, false)];
        for (request, at, holds) in cases.into_iter().chain(outside) {
            let expected = holds.then_some(Fault::Status(503));
            assert_eq!(plan(script, request, at).fault, expected, "{request} at {at} ms");
        }
    }

    #[test]
    fn a_rule_can_be_for_some_paths_only() {
        assert_eq!(plan("on ack lost", 0, 0).fault, None);
        assert_eq!(plan("on bulk code 9", 0, 0).fault, Some(Fault::Code(9)));
    }

    #[test]
    fn every_action_reads() {
        let script = "latency 5ms\nlatency 1ms..2ms # a comment; with a semicolon\n\
            latency exp 3ms; status 500; auth; throttle 2s; throttle 2s date; reset before\n\
            reset after; hang; hang 1s; mute; mute 2m; lost; forget; restart; refuse\n\
            slow-read 1000; max-body 4096; items 429 0.5; ack-delay 2s; ack-lost 0.1";
        let plan = plan(script, 0, 0);
        assert_eq!(plan.fault, Some(Fault::Status(500)));
        assert!(plan.delay >= Duration::from_millis(6), "latencies add up: {plan:?}");
        assert_eq!((plan.pace, plan.body_bytes_max), (Some(1_000), Some(4_096)));
        assert_eq!(plan.items, Some((429, 0.5)));
        assert_eq!((plan.ack_delay, plan.ack_lost), (Duration::from_secs(2), 0.1));
    }

    #[test]
    fn a_mistake_names_the_rule_and_what_was_expected() {
        for (script, part) in [
            ("latency 5ms; stutter 3", "rule 2"),
            ("from 1s", "an action is missing"),
            ("chance 2 lost", "from 0 to 1"),
            ("latency soon", "no duration"),
            ("requests 5 lost", "10..20"),
        ] {
            let error = Script::parse(script).expect_err(script).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn chance_is_seeded() {
        let script = Script::parse("chance 0.25 lost").expect("valid");
        let count = |seed| {
            let mut random = Random::new(seed);
            let plans = (0..4_000).map(|at| script.plan("/", at, Duration::ZERO, &mut random));
            plans.filter(|plan| plan.fault.is_some()).count()
        };
        assert_eq!(count(7), count(7));
        assert!((900..1_100).contains(&count(7)), "{}", count(7));
    }
}
