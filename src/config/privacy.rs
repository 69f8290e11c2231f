//! What nobody downstream may see: `privacy` for all exporters, and narrower for one.

use std::sync::Arc;

use super::expand::Names;
use super::key::key;
use super::mistake::nearest;
use super::patterns;
use super::read::read;
use super::text::Body;
use super::value::{Value, Values, join};
use super::{Default, Key, Kind, Mistake, Mistakes, Wrong};
use crate::deliver::Hidden;
use crate::event::{
    Needs, PatternRule, Privacy, PrivacyError, PrivacyList, PrivacyRules, Salt, privacy_paths,
};
use Default::{Is, Unset};

/// Keys of the privacy of all exporters.
pub const PRIVACY: &[Key] = &[
    key(
        "privacy.fields.allow",
        Kind::List,
        Is("[]"),
        "Optional fields that stay, with `metadata.a.b` and `labels.a`; empty is all.",
    ),
    key(
        "privacy.fields.deny",
        Kind::List,
        Is("[]"),
        "Paths that are removed; a required text becomes the replacement.",
    ),
    key("privacy.redact_fields", Kind::List, Is("[]"), "Paths whose value is replaced."),
    key(
        "privacy.mask_fields",
        Kind::List,
        Is("[]"),
        "Paths of which four stars and the last four characters stay.",
    ),
    key(
        "privacy.hash_fields",
        Kind::List,
        Is("[]"),
        "Paths whose value becomes its HMAC-SHA256, as 64 hexadecimal digits.",
    ),
    key(
        "privacy.hash_salt",
        Kind::Secret,
        Unset("required with hash_fields"),
        "The key of those hashes.",
    ),
    key(
        "privacy.drop_metadata",
        Kind::Bool,
        Is("false"),
        "Removes all metadata but our own remarks.",
    ),
    key("privacy.drop_labels", Kind::Bool, Is("false"), "Removes all labels."),
    key(
        "privacy.drop_previews",
        Kind::Bool,
        Is("true"),
        "Removes previews of bodies, content of patches and files, parameters and output of \
         tools from the metadata, at any depth.",
    ),
    key(
        "privacy.patterns",
        Kind::Patterns,
        Is("[]"),
        "Expressions that are looked for in every text, beside the built-in ones.",
    ),
    key(
        "privacy.builtin_patterns",
        Kind::List,
        Is("[private_key, aws_key, github_token, slack_token, bearer, llm_key]"),
        "Of private_key, aws_key, github_token, slack_token, bearer, llm_key, url_password, email, \
         credit_card, ssn, phone, ipv4 and generic_secret those that are looked for.",
    ),
    key(
        "privacy.redaction_replacement",
        Kind::Text(256),
        Is("\"[REDACTED]\""),
        "What stands where something was.",
    ),
];

/// Keys of one exporter that sees less than the others.
pub const PRIVACY_OWN: &[Key] = &[
    key("privacy.allow", Kind::List, Is("[]"), "Optional fields that it may see; empty is all.")
        .also(&["privacy.fields.allow"]),
    key("privacy.deny", Kind::List, Is("[]"), "Paths that are removed for it.")
        .also(&["privacy.fields.deny"]),
    key("privacy.redact_fields", Kind::List, Is("[]"), "Paths that are replaced for it."),
    key("privacy.mask_fields", Kind::List, Is("[]"), "Paths that are masked for it."),
];

/// Keys of one of `privacy.patterns`.
pub const PATTERN: &[Key] = &[
    key("name", Kind::Text(64), Unset("required"), "What errors call it."),
    key(
        "regex",
        Kind::Text(4096),
        Unset("required"),
        "What it finds, without look-around and backreferences, so that the time is linear; a \
         group `(?P<secret>..)` is replaced alone.",
    ),
    key(
        "replacement",
        Kind::Text(256),
        Unset("privacy.redaction_replacement"),
        "What comes instead.",
    ),
];

/// The privacy of all exporters; nothing where it is wrong or changes nothing.
pub(super) fn privacy(
    values: &Values,
    names: &Names<'_>,
    notes: &mut Vec<String>,
    mistakes: &mut Mistakes,
) -> Option<Arc<Privacy>> {
    let salt = match values.value("privacy.hash_salt") {
        Some(Value::Secret(secret)) => Some(secret),
        _ => None,
    };
    if salt.is_some_and(|salt| salt.expose().len() < SALT_BYTES_MIN) {
        notes.push(format!(
            "privacy.hash_salt is shorter than {SALT_BYTES_MIN} bytes: who guesses it can tell \
             hashed values"
        ));
    }
    let mut found = built_in(values, mistakes);
    found.extend(own(values, names, mistakes));
    let rules = PrivacyRules {
        allow: list(values, "privacy.fields.allow"),
        deny: list(values, "privacy.fields.deny"),
        redact: list(values, "privacy.redact_fields"),
        mask: list(values, "privacy.mask_fields"),
        hash: list(values, "privacy.hash_fields"),
        salt: salt.map(|salt| Salt::new(salt.expose().as_bytes())),
        drop_metadata: values.is_on("privacy.drop_metadata"),
        drop_labels: values.is_on("privacy.drop_labels"),
        drop_previews: values.is_on("privacy.drop_previews"),
        patterns: found,
        replacement: values.text("privacy.redaction_replacement").unwrap_or_default(),
    };
    let key = |list| match list {
        PrivacyList::Allow => "privacy.fields.allow",
        PrivacyList::Deny => "privacy.fields.deny",
        PrivacyList::Redact => "privacy.redact_fields",
        PrivacyList::Mask => "privacy.mask_fields",
        PrivacyList::Hash => "privacy.hash_fields",
    };
    compile(&rules, key, values, mistakes)
}

/// What one exporter sees less than the others, by its own rules and by what its destination's
/// options leave out.
pub(super) fn narrower(
    values: &Values,
    hidden: Hidden,
    replacement: &str,
    mistakes: &mut Mistakes,
) -> Option<Arc<Privacy>> {
    let mut allow = list(values, "privacy.allow");
    if !allow.is_empty() && !hidden.but.is_empty() {
        let wrong = "the destination's own keys choose inside metadata or labels already; write \
                     one of the two";
        values.mistake("privacy.allow", Wrong::Rule(wrong.to_owned()), mistakes);
    }
    allow.extend(hidden.but);
    let mut deny = list(values, "privacy.deny");
    deny.extend(hidden.paths);
    let rules = PrivacyRules {
        allow,
        deny,
        redact: list(values, "privacy.redact_fields"),
        mask: list(values, "privacy.mask_fields"),
        replacement: replacement.to_owned(),
        ..PrivacyRules::default()
    };
    let key = |list| match list {
        PrivacyList::Allow => "privacy.allow",
        PrivacyList::Deny => "privacy.deny",
        PrivacyList::Redact | PrivacyList::Hash => "privacy.redact_fields",
        PrivacyList::Mask => "privacy.mask_fields",
    };
    compile(&rules, key, values, mistakes)
}

fn compile(
    rules: &PrivacyRules,
    key: impl Fn(PrivacyList) -> &'static str,
    values: &Values,
    mistakes: &mut Mistakes,
) -> Option<Arc<Privacy>> {
    let wrong = match Privacy::compile(rules) {
        Ok(privacy) => return privacy.map(Arc::new),
        Err(wrong) => wrong,
    };
    for problem in wrong {
        let (key, text) = match &problem {
            PrivacyError::Path { list, path, .. } => {
                let near = nearest(path, privacy_paths());
                let hint = near.map(|near| format!("; did you mean `{near}`?"));
                (key(*list), format!("{problem}{}", hint.unwrap_or_default()))
            }
            PrivacyError::TooMany => (key(PrivacyList::Redact), problem.to_string()),
            PrivacyError::NoSalt => (key(PrivacyList::Hash), problem.to_string()),
            PrivacyError::Pattern { .. } => ("privacy.patterns", problem.to_string()),
        };
        values.mistake(key, Wrong::Rule(text), mistakes);
    }
    None
}

fn list(values: &Values, key: &'static str) -> Vec<String> {
    match values.value(key) {
        Some(Value::List(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

fn built_in(values: &Values, mistakes: &mut Mistakes) -> Vec<PatternRule> {
    const KEY: &str = "privacy.builtin_patterns";
    let known = patterns::names();
    let mut found = Vec::new();
    let mut wanted = list(values, KEY);
    wanted.sort_unstable();
    wanted.dedup();
    for name in wanted {
        if !known.contains(&name.as_str()) {
            let hint = match nearest(&name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}", known.join(", ")),
            };
            let wrong = format!("no pattern `{}`; {hint}", name.escape_debug());
            values.mistake(KEY, Wrong::Rule(wrong), mistakes);
        }
        found.extend(patterns::named(&name));
    }
    found
}

/// The operator's own patterns.
fn own(values: &Values, names: &Names<'_>, mistakes: &mut Mistakes) -> Vec<PatternRule> {
    const KEY: &str = "privacy.patterns";
    let Some(Body::List(nodes)) = values.node(KEY).map(|node| &node.body) else {
        return Vec::new();
    };
    if nodes.len() > PATTERNS_MAX {
        let wrong = Wrong::TooLarge { what: "patterns", max: PATTERNS_MAX };
        values.mistake(KEY, wrong, mistakes);
        return Vec::new();
    }
    let mut found = Vec::with_capacity(nodes.len());
    for (n, node) in nodes.iter().enumerate() {
        let place = format!("{}[{n}]", join(&values.place, KEY));
        let row = read(node, &place, PATTERN, names, mistakes);
        for key in ["name", "regex"].into_iter().filter(|key| !row.is_written(key)) {
            let wrong = Wrong::Rule(format!("a pattern needs `{key}`"));
            mistakes.add(Mistake::new(node.at.clone(), place.as_str(), wrong));
        }
        let replacement = row.text("replacement");
        if let (Some(name), Some(regex)) = (row.text("name"), row.text("regex")) {
            let needs = Needs::Beginning;
            found.push(PatternRule { name, regex, replacement, needs, check: None });
        }
    }
    found
}

/// Patterns of an operator: each may be tried on every text.
const PATTERNS_MAX: usize = 64;
/// A salt of fewer bytes can be guessed.
const SALT_BYTES_MIN: usize = 16;
