//! Whatever the text: no panic, every mistake has its place, and no secret is repeated.

use std::path::Path;

use proptest::prelude::*;
use shrike::config::{At, Config, Error, Flag, Flags, Lookup, SHARED, TOP, Text, hook_keys};
use shrike::vendors;

use crate::world::TOWER;

const SECRET: &str = "s3cret-t0ken";

/// Every variable and every file holds the secret.
struct Full;

impl Lookup for Full {
    fn variable(&self, _name: &str) -> Option<String> {
        Some(SECRET.to_owned())
    }

    fn file(&self, _path: &Path) -> std::io::Result<String> {
        Ok(SECRET.to_owned())
    }

    fn hostname(&self) -> String {
        "host".to_owned()
    }
}

/// Pieces from which texts are made: steps of real keys, values, and what YAML trips over.
fn pieces() -> impl Strategy<Value = String> {
    let hooks = hook_keys();
    let steps = TOP.iter().chain(SHARED).chain(&hooks).flat_map(|key| key.path.split('.'));
    let words = ["tower", "splunk", "elastic", "nodes", "hec_url", "routing", "condition", "<<"];
    let keys: Vec<String> = steps.chain(words).map(|step| format!("{step}: ")).collect();
    let values = [
        "${A}",
        "'${A}'",
        "\"@/a\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "? ",
        "&a ",
        "*a",
        "!t ",
        "|\n  x",
        "--- ",
        "# ",
        "null",
        "true",
        "7",
        "1.5",
        "10s",
        "64MiB",
        "https://a",
        "response_hooks: [{name: a, action: webhook, when: ",
        "default, idempotency_key: '{",
        "http://far",
        "{}",
        "[]",
        "\u{7}",
        "\u{fffd}",
        "'",
        "\"",
        "$${",
        "${",
        "${state_dir}",
        "${x:y}",
        "\t",
        "a.b: ",
        ": ",
    ];
    let all: Vec<String> = values.iter().map(|&text| text.to_owned()).chain(keys).collect();
    proptest::collection::vec(proptest::sample::select(all), 0..24).prop_map(|all| all.concat())
}

fn check(text: &str, set: &str, to: &str) -> Result<(), TestCaseError> {
    let list = vec![Flag::Set(set.to_owned()), Flag::To(to.to_owned())];
    let text = Text::File { name: "any.yaml".to_owned(), text: text.to_owned().into() };
    let all: Vec<_> = vendors::ALL.iter().copied().chain([&TOWER]).collect();
    let Err(error) = Config::load(&text, &Flags { list }, &all, &Full) else { return Ok(()) };
    prop_assert!(!error.to_string().contains(SECRET), "{error}");
    let Error::Wrong(mistakes) = &error else { panic!("{error}") };
    prop_assert!(mistakes.count() > 0, "an error without a mistake");
    for mistake in mistakes.iter() {
        match &mistake.at {
            At::Place { line, column, .. } => prop_assert!(*line > 0 && *column > 0, "{mistake}"),
            At::Flag(flag) => prop_assert!(flag.starts_with("--"), "{mistake}"),
        }
        let shown = mistake.to_string();
        prop_assert!(!shown.contains(char::is_control), "{shown:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_configuration_or_has_mistakes_with_places(
        text in pieces(),
        set in pieces(),
        to in "[a-z_.=:/]{0,12}",
    ) {
        check(&text, &set, &to)?;
    }

    #[test]
    fn any_characters_are_no_panic(text in "\\PC{0,60}", key in "[a-z_.0-9]{0,20}") {
        check(&text, &format!("{key}={text}"), &text)?;
    }
}
