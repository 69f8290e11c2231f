//! Paths of privacy rules: what they name in an event.

use super::super::FieldId as F;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A field, as a whole.
    Field(F),
    /// Something inside the metadata.
    Metadata(Vec<Step>),
    /// A label, or all of them.
    Label(Step),
    /// What is kept of the source of a field, where it was of another type: its way in
    /// `metadata.shrike.source`.
    Source(Vec<Step>),
}

/// One step into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The member with this key.
    Key(Vec<u8>),
    /// Every member.
    Any,
    /// Every element of an array.
    Elements,
}

/// Why a path names nothing that a rule could change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProblem {
    /// No event has such a field.
    Unknown,
    /// Without this field there is no event: it is what others order, match and count by.
    Essential,
}

/// What a path names; `Err` when it is a field that no rule may change, or none at all.
pub(super) fn parse(path: &str) -> Result<Vec<Target>, PathProblem> {
    let mut targets = named(path)?;
    // Labels that are kept are no object, in which one could be told from another.
    let source = path.strip_prefix("labels.").map_or(path, |_| "labels");
    if source.split('.').next() != Some("metadata") {
        targets.push(Target::Source(steps(source)?));
    }
    Ok(targets)
}

fn named(path: &str) -> Result<Vec<Target>, PathProblem> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match (first, rest) {
        ("*", None) => {
            let mut all = fixed("*")?;
            all.extend([Target::Field(F::Metadata), Target::Field(F::Labels)]);
            Ok(all)
        }
        ("metadata", None) => Ok(vec![Target::Field(F::Metadata)]),
        ("labels", None) => Ok(vec![Target::Field(F::Labels)]),
        ("metadata", Some(rest)) => Ok(vec![Target::Metadata(steps(rest)?)]),
        // Names of labels have dots and slashes of their own; below a label there is nothing.
        ("labels", Some("")) => Err(PathProblem::Unknown),
        ("labels", Some("*")) => Ok(vec![Target::Label(Step::Any)]),
        ("labels", Some(name)) => Ok(vec![Target::Label(Step::Key(name.as_bytes().to_vec()))]),
        _ => fixed(path),
    }
}

fn steps(path: &str) -> Result<Vec<Step>, PathProblem> {
    let mut steps = Vec::new();
    for segment in path.split('.') {
        let name = segment.trim_end_matches("[]");
        match name {
            "" => return Err(PathProblem::Unknown),
            "*" => steps.push(Step::Any),
            name => steps.push(Step::Key(name.as_bytes().to_vec())),
        }
        let arrays = (segment.len() - name.len()) / 2;
        steps.extend(std::iter::repeat_n(Step::Elements, arrays));
    }
    Ok(steps)
}

/// The way to a field.
pub(super) fn of(id: F) -> Vec<Step> {
    id.path().split('.').map(|name| Step::Key(name.as_bytes().to_vec())).collect()
}

/// The fields with canonical homes that a path names: one, those of an object, those that fit `*`.
fn fixed(path: &str) -> Result<Vec<Target>, PathProblem> {
    let names = |id: F| fits(path, id.path());
    let fields = F::ALL.iter().copied().filter(|&id| id.bit() & OPEN == 0 && names(id));
    let fields: Vec<F> = fields.collect();
    match fields.as_slice() {
        [] => Err(PathProblem::Unknown),
        [one] if one.bit() & ESSENTIAL != 0 => Err(PathProblem::Essential),
        all => {
            let changed = all.iter().filter(|id| id.bit() & ESSENTIAL == 0);
            Ok(changed.map(|&id| Target::Field(id)).collect())
        }
    }
}

/// Whether a path with `*` names a field or an object around it.
fn fits(path: &str, field: &str) -> bool {
    let mut steps = field.split('.');
    path.split('.').all(|wanted| steps.next().is_some_and(|step| wanted == "*" || wanted == step))
}

/// The paths that exist without a look at an event, for hints.
pub fn privacy_paths() -> impl Iterator<Item = &'static str> {
    F::ALL.iter().filter(|id| id.bit() & ESSENTIAL == 0).map(|id| id.path())
}

/// Fields in and of the metadata and the labels: their own rules name them.
pub(super) const OPEN: u64 = DERIVED | F::Metadata.bit() | F::Shrike.bit() | F::Labels.bit();

/// Fields that are members of the metadata at the same time.
pub(super) const DERIVED: u64 =
    F::CommandLine.bit() | F::TraceId.bit() | F::SpanId.bit() | F::Traceparent.bit();

/// Fields that identify, order and judge an event: filters, routes, acknowledgements and every
/// document depend on them, and their values say nothing about people.
pub(super) const ESSENTIAL: u64 = F::SchemaVersion.bit()
    | F::EventId.bit()
    | F::EventType.bit()
    | F::EventCategory.bit()
    | F::Timestamp.bit()
    | F::Outcome.bit()
    | F::Allowed.bit()
    | F::Severity.bit()
    | F::ResourceType.bit();

/// Texts that every event must have: removing one leaves the replacement.
pub(super) const REQUIRED_TEXTS: u64 = F::AgentId.bit()
    | F::AgentName.bit()
    | F::AgentVersion.bit()
    | F::AgentType.bit()
    | F::SessionId.bit()
    | F::Action.bit()
    | F::Guard.bit()
    | F::Reason.bit()
    | F::ResourceName.bit();

/// Fields that another text cannot stand for: every rule removes them.
pub(super) const NO_TEXTS: u64 = F::IngestedAt.bit()
    | F::IndicatorType.bit()
    | F::ResourcePort.bit()
    | F::Metadata.bit()
    | F::Labels.bit();

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(path: &str) -> Vec<F> {
        let targets = parse(path).expect("the path is right");
        targets
            .into_iter()
            .filter_map(|target| match target {
                Target::Field(id) => Some(id),
                Target::Source(_) => None,
                other => panic!("{path}: {other:?}"),
            })
            .collect()
    }

    #[test]
    fn fixed_paths_name_fields_and_objects() {
        assert_eq!(fields("resource.path"), [F::ResourcePath]);
        assert_eq!(fields("threat.indicator.value"), [F::IndicatorValue]);
        let agent = [F::AgentId, F::AgentName, F::AgentVersion, F::AgentType];
        assert_eq!(fields("agent"), agent);
        assert_eq!(fields("agent.*"), agent);
        assert_eq!(fields("*.id"), [F::AgentId, F::SessionId]);
        let resource = [F::ResourceName, F::ResourcePath, F::ResourceHost, F::ResourcePort];
        assert_eq!(fields("resource"), resource, "its type is essential");
        assert!(fields("*").contains(&F::Metadata));
        assert_eq!(fields("metadata"), [F::Metadata]);
    }

    #[test]
    fn open_paths_are_steps() {
        let key = |name: &str| Step::Key(name.as_bytes().to_vec());
        let steps = |path: &str| parse(path).expect("the path is right");
        assert_eq!(steps("metadata.a"), [Target::Metadata(vec![key("a")])]);
        assert_eq!(
            steps("metadata.*.b[].c[][]"),
            [Target::Metadata(vec![
                Step::Any,
                key("b"),
                Step::Elements,
                key("c"),
                Step::Elements,
                Step::Elements
            ])]
        );
        let labels = Target::Source(vec![key("labels")]);
        let name = Target::Label(key("app.io/name"));
        assert_eq!(steps("labels.app.io/name"), [name, labels.clone()]);
        assert_eq!(steps("labels.*"), [Target::Label(Step::Any), labels]);
    }

    #[test]
    fn what_is_kept_of_a_fields_source_has_the_fields_path() {
        let key = |name: &str| Step::Key(name.as_bytes().to_vec());
        let source = |path: &str| match parse(path).expect("the path is right").pop() {
            Some(Target::Source(steps)) => Some(steps),
            _ => None,
        };
        assert_eq!(source("session"), Some(vec![key("session")]));
        assert_eq!(source("*.id"), Some(vec![Step::Any, key("id")]));
        assert_eq!(source("*"), Some(vec![Step::Any]));
        assert_eq!(source("labels"), Some(vec![key("labels")]));
        assert_eq!((source("metadata"), source("metadata.a")), (None, None));
    }

    #[test]
    fn a_path_that_names_nothing_is_refused() {
        for path in ["", "resource.pth", "resource.path.x", "agents", "metadata.", "metadata.a..b"]
        {
            assert_eq!(parse(path), Err(PathProblem::Unknown), "{path}");
        }
        for path in ["labels.", "resource.path[]", "metadata.[]", ".", "*.*.*.*"] {
            assert_eq!(parse(path), Err(PathProblem::Unknown), "{path}");
        }
        for path in ["event_id", "timestamp", "decision.severity", "resource.type"] {
            assert_eq!(parse(path), Err(PathProblem::Essential), "{path}");
        }
    }
}
