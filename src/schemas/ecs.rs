//! Elastic Common Schema (`elastic.md`, ECS mapping).
//!
//! Every name is valid in ECS 8.17 and in 9.x. Arrays are always arrays, no text is empty, and
//! `event.category` and `event.type` hold only values and pairs that ECS allows.

use super::check;
use super::derive::{self, Path};
use crate::event::{Event as E, EventType, FieldId as F, IndicatorType, Outcome, ResourceType};
use crate::transform::Source::{
    Event, Extracted, Listed, OneOf, Option as Text, OptionOr, Part, When,
};
use crate::transform::write::{severity, value};
use crate::transform::{Choices, Empty, Encoder, Field, Layout, Schema, row};

/// An ECS document.
pub static ECS: Schema = Schema {
    name: "ecs",
    layout: Layout::Cases {
        shared: SHARED,
        pick: |event| match event.opened.resource_type {
            ResourceType::File => 0,
            ResourceType::Network => 1,
            ResourceType::Process => 2,
            ResourceType::Tool => 3,
            ResourceType::Configuration | ResourceType::Other => 4,
        },
        cases: &[FILE, NETWORK, PROCESS, TOOL, OTHER],
    },
    required: &["@timestamp", "event.id", "ecs.version"],
    raw: Some("event.original"),
    empty: Empty::Drop,
    check: Some(check::ecs),
    ..Schema::BASE
};

const SHARED: &[Field] = &[
    row("@timestamp", Event(F::Timestamp, value)),
    row("ecs.version", OptionOr("ecs_version", "8.17.0")),
    row("message", Event(F::Reason, value)),
    row("event.kind", OneOf(&[F::Allowed, F::Severity], kind, &[r#""event""#, r#""alert""#])),
    row("event.category", OneOf(&[F::EventType], category, CATEGORIES)),
    row("event.type", OneOf(&[F::EventType, F::Allowed], types, TYPES)),
    row("event.id", Event(F::EventId, value)),
    row("event.code", Event(F::EventType, value)),
    row("event.action", Event(F::Action, value)),
    row("event.outcome", OneOf(&[F::Outcome, F::Allowed], outcome, OUTCOMES)),
    row("event.reason", Event(F::Reason, value)),
    row("event.severity", OneOf(&[F::Severity], severity, &["1", "2", "3", "4", "5"])),
    // Elastic's scale: the middle of its bands.
    row("event.risk_score", OneOf(&[F::Severity], severity, &["0", "21", "47", "73", "99"])),
    row("event.module", Event(F::AgentType, value)),
    row("event.dataset", Part(&[F::AgentType], dataset)),
    row("event.created", Event(F::IngestedAt, value)),
    row("agent.id", Event(F::AgentId, value)),
    row("agent.name", Event(F::AgentName, value)),
    row("agent.version", Event(F::AgentVersion, value)),
    row("agent.type", Event(F::AgentType, value)),
    row("rule.name", Event(F::Guard, value)),
    row("rule.ruleset", Event(F::Ruleset, value)),
    row("session.id", Event(F::SessionId, value)),
    row("user.id", Event(F::SessionUserId, value)),
    row("organization.id", Event(F::SessionTenantId, value)),
    row("service.environment", Event(F::SessionEnvironment, value)),
    row("related.user", Listed(&[F::SessionUserId], |event, _| event.text(F::SessionUserId))),
    row("host.name", Text("host.name")),
    row("host.id", Text("host.machine_id")),
    row("observer.product", Text("product.name")),
    row("observer.version", Text("product.version")),
    row("threat.framework", Extracted(&[F::Tactic, F::Technique], framework)),
    row("threat.tactic.id", Listed(&[F::Tactic], tactic_id)),
    row("threat.tactic.name", Listed(&[F::Tactic], tactic_name)),
    row("threat.technique.id", Listed(&[F::Technique], technique_id)),
    row("threat.technique.name", Listed(&[F::Technique], technique_name)),
    row("threat.technique.subtechnique.id", Listed(&[F::Technique], subtechnique_id)),
    row("threat.indicator.type", Extracted(&[F::IndicatorType, F::IndicatorValue], indicator_type)),
    row("threat.indicator.name", Extracted(&[F::IndicatorValue], derive::indicator)),
    row("threat.enrichments", Part(&[F::Shrike], derive::enrichments)),
    row("trace.id", Extracted(&[F::TraceId, F::Traceparent], |event, _| derive::trace_id(event))),
    row("span.id", Extracted(&[F::SpanId, F::Traceparent], |event, _| derive::span_id(event))),
    row("clawdstrike.schema_version", Event(F::SchemaVersion, value)),
    row("clawdstrike.allowed", Event(F::Allowed, value)),
    row("clawdstrike.guard", Event(F::Guard, value)),
    row("clawdstrike.policy_hash", Event(F::PolicyHash, value)),
    row("clawdstrike.session_id", Event(F::SessionId, value)),
    row("clawdstrike.environment", Event(F::SessionEnvironment, value)),
    row("clawdstrike.outcome", Extracted(&[F::Outcome], other_outcome)),
    row("clawdstrike.metadata.*", Event(F::Metadata, value)),
    row("clawdstrike.metadata.shrike.*", Event(F::Shrike, value)),
    row("clawdstrike.metadata.shrike.truncated", When("truncated", "true")),
    row("labels.*", Part(&[F::Labels], derive::labels)),
    row("tags", Part(&[F::Labels], derive::tags)),
];

const FILE: &[Field] = &[
    row(
        "file.path",
        Extracted(&[F::ResourcePath, F::ResourceName], |event, _| derive::path(event)),
    ),
    row(
        "file.name",
        Extracted(&[F::ResourcePath, F::ResourceName], |event, _| Path::of(event).name),
    ),
    row(
        "file.extension",
        Extracted(&[F::ResourcePath, F::ResourceName], |event, _| Path::of(event).extension()),
    ),
    row(
        "file.directory",
        Extracted(&[F::ResourcePath, F::ResourceName], |event, _| Path::of(event).directory),
    ),
];

const NETWORK: &[Field] = &[
    row(
        "destination.address",
        Extracted(&[F::ResourceHost, F::ResourceName], |event, _| derive::host(event)),
    ),
    row(
        "destination.domain",
        Extracted(&[F::ResourceHost, F::ResourceName], |event, _| derive::domain(event)),
    ),
    row(
        "destination.ip",
        Extracted(&[F::ResourceHost, F::ResourceName], |event, _| derive::ip(event)),
    ),
    row("destination.port", Part(&[F::ResourcePort], derive::port)),
    row(
        "related.hosts",
        Listed(&[F::ResourceHost, F::ResourceName], |event, _| derive::domain(event)),
    ),
    row("related.ip", Listed(&[F::ResourceHost, F::ResourceName], |event, _| derive::ip(event))),
    row("url.path", Event(F::ResourcePath, value)),
];

const PROCESS: &[Field] = &[
    row(
        "process.command_line",
        Extracted(&[F::CommandLine, F::ResourcePath, F::ResourceName], |event, _| {
            derive::command(event)
        }),
    ),
    row(
        "process.name",
        Extracted(&[F::CommandLine, F::ResourcePath, F::ResourceName], |event, _| {
            derive::command_name(event)
        }),
    ),
];

const TOOL: &[Field] = &[
    row("process.name", Event(F::ResourceName, value)),
    row("clawdstrike.tool.name", Event(F::ResourceName, value)),
];

/// ECS has no fields for these resources; they are kept in our own.
const OTHER: &[Field] = &[
    row("clawdstrike.resource.type", Event(F::ResourceType, value)),
    row("clawdstrike.resource.name", Event(F::ResourceName, value)),
    row("clawdstrike.resource.path", Event(F::ResourcePath, value)),
];

/// `alert` for denials from the chosen severity on, else `event`.
fn kind(event: &E<'_>, choices: Choices) -> usize {
    let severe = choices.alert_min.is_some_and(|min| event.opened.severity >= min);
    usize::from(severe && !event.opened.allowed)
}

/// ECS allows `indicator` only with category `threat`, and `denied` not with `file` alone, so these
/// have a second category.
const CATEGORIES: &[&str] = &[
    r#"["intrusion_detection"]"#,
    r#"["intrusion_detection","threat"]"#,
    r#"["network"]"#,
    r#"["file","intrusion_detection"]"#,
    r#"["session"]"#,
    r#"["configuration"]"#,
];

fn category(event: &E<'_>, _: Choices) -> usize {
    match event.opened.event_type {
        EventType::SecretDetected => 1,
        EventType::EgressBlocked => 2,
        EventType::ForbiddenPath | EventType::PatchRejected => 3,
        EventType::SessionStart | EventType::SessionEnd => 4,
        EventType::ExportGap => 5,
        _ => 0,
    }
}

const TYPES: &[&str] = &[
    r#"["denied"]"#,
    r#"["allowed"]"#,
    r#"["info"]"#,
    r#"["denied","indicator"]"#,
    r#"["info","indicator"]"#,
    r#"["access","denied"]"#,
    r#"["change","denied"]"#,
    r#"["start"]"#,
    r#"["end"]"#,
];

/// `event.type` of the event types; of an unknown one by decision.
fn types(event: &E<'_>, _: Choices) -> usize {
    match (event.opened.event_type, event.opened.allowed) {
        (EventType::PolicyViolation | EventType::GuardBlock | EventType::EgressBlocked, _)
        | (EventType::Other, false) => 0,
        (EventType::PolicyAllow, _) | (EventType::Other, true) => 1,
        (EventType::GuardWarn | EventType::ExportGap, _) => 2,
        (EventType::SecretDetected, false) => 3,
        (EventType::SecretDetected, true) => 4,
        (EventType::ForbiddenPath, _) => 5,
        (EventType::PatchRejected, _) => 6,
        (EventType::SessionStart, _) => 7,
        (EventType::SessionEnd, _) => 8,
    }
}

const OUTCOMES: &[&str] = &[r#""success""#, r#""failure""#];

/// The outcome; where it is unknown, what the decision says.
fn outcome(event: &E<'_>, _: Choices) -> usize {
    match (event.opened.outcome, event.opened.allowed) {
        (Outcome::Success, _) | (Outcome::Unknown | Outcome::Other, true) => 0,
        (Outcome::Failure, _) | (Outcome::Unknown | Outcome::Other, false) => 1,
    }
}

/// An outcome that ECS has no word for, as the source wrote it.
fn other_outcome<'a>(event: &E<'a>, _: Choices) -> &'a [u8] {
    if event.opened.outcome == Outcome::Other { event.text(F::Outcome) } else { b"" }
}

/// `{agent.type}.security`.
fn dataset(encoder: &mut Encoder<'_>, event: &E<'_>) -> bool {
    let agent = event.text(F::AgentType);
    if agent.is_empty() {
        return false;
    }
    encoder.literal(b"\"");
    encoder.characters(agent);
    encoder.literal(b".security\"");
    true
}

/// The framework that the ids belong to; those of ATLAS begin with `AML.`. None without ids.
fn framework<'a>(event: &E<'a>, _: Choices) -> &'a [u8] {
    let (tactic, technique) = (event.text(F::Tactic), event.text(F::Technique));
    if tactic.starts_with(b"AML.") || technique.starts_with(b"AML.") {
        return b"MITRE ATLAS";
    }
    if tactic.is_empty() && technique.is_empty() { b"" } else { b"MITRE ATT&CK" }
}

fn tactic_id<'a>(event: &E<'a>, _: Choices) -> &'a [u8] {
    let tactic = event.text(F::Tactic);
    if derive::is_tactic(tactic) { tactic } else { b"" }
}

fn tactic_name<'a>(event: &E<'a>, _: Choices) -> &'a [u8] {
    let tactic = event.text(F::Tactic);
    if derive::is_tactic(tactic) { b"" } else { tactic }
}

/// The technique's id; of a subtechnique that of the technique it refines.
fn technique_id<'a>(event: &E<'a>, _: Choices) -> &'a [u8] {
    derive::technique(event.text(F::Technique)).map_or(b"", |(technique, _)| technique)
}

fn technique_name<'a>(event: &E<'a>, _: Choices) -> &'a [u8] {
    let technique = event.text(F::Technique);
    if derive::technique(technique).is_some() { b"" } else { technique }
}

fn subtechnique_id<'a>(event: &E<'a>, _: Choices) -> &'a [u8] {
    let technique = event.text(F::Technique);
    match derive::technique(technique) {
        Some((_, true)) => technique,
        _ => b"",
    }
}

/// The kind of the indicator in the words of STIX; a pattern has none.
fn indicator_type<'a>(event: &E<'a>, choices: Choices) -> &'a [u8] {
    let value = derive::indicator(event, choices);
    if value.is_empty() {
        return b"";
    }
    match (event.opened.indicator_type, derive::address(value)) {
        // Producers call every destination a domain, addresses too.
        (IndicatorType::Domain | IndicatorType::Ip, Some((address, _))) if address.is_ipv6() => {
            b"ipv6-addr"
        }
        (IndicatorType::Domain | IndicatorType::Ip, Some(_)) => b"ipv4-addr",
        (IndicatorType::Domain, None) => b"domain-name",
        (IndicatorType::FilePath | IndicatorType::FileName | IndicatorType::FileHash, _) => b"file",
        (IndicatorType::Url, _) => b"url",
        (IndicatorType::Ip, None) | (IndicatorType::Pattern | IndicatorType::Other, _) => b"",
    }
}
