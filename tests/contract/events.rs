//! The contract of an event, by the vectors that every language shares.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::value::RawValue;
use shrike::event::{
    Classes, Event, FieldId, Frame, Opened, Opening, OpeningOptions, SecurityEvent, json_schema,
    typescript,
};

/// One vector of `tests/vectors/security-event.json`.
#[derive(Deserialize)]
struct Vector {
    name: String,
    /// `clean`, `accepted` (changed without a flag), `flagged` or `rejected`.
    intake: String,
    /// Whether the JSON Schema takes it.
    schema: bool,
    /// Whether the TypeScript types take it.
    types: bool,
    event: Box<RawValue>,
}

fn vectors() -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/security-event.json");
    let text = fs::read_to_string(path).expect("the vectors are in the repository");
    serde_json::from_str(&text).expect("they are JSON")
}

#[test]
fn intake_and_schema_judge_the_vectors_as_they_say() {
    let validator = jsonschema::validator_for(&json_schema()).expect("a schema");
    let (mut judged, mut expected) = (Vec::new(), Vec::new());
    for vector in vectors() {
        let Vector { name, intake, schema, event, .. } = vector;
        let opening = Opening::new(&OpeningOptions { ingested_at: false, ..Default::default() });
        let (mut arena, mut opened) = (Vec::new(), Opened::default());
        opening.begin(&mut arena);
        // In the vectors' own time, so that none is old or of the future.
        let frame = Frame { received_ns: 1_770_368_402_000_000_000, ..Frame::default() };
        let record = event.get().as_bytes();
        let found = match opening.open_exact(&frame, record, &mut arena, &mut opened) {
            Err(_) => "rejected",
            Ok(()) => {
                let event = Event::new(&opened, frame, record, &arena);
                let remarks = event.text(FieldId::Shrike);
                match (opened.flags == Classes::default(), remarks.is_empty()) {
                    (false, _) => "flagged",
                    (true, false) => "accepted",
                    (true, true) => "clean",
                }
            }
        };
        let value = serde_json::from_str(event.get()).expect("JSON");
        judged.push((name.clone(), found.to_owned(), validator.is_valid(&value)));
        expected.push((name.clone(), intake.clone(), schema));
        // What the schema takes is clean, and what it asks for is enough.
        assert!(!schema || intake == "clean", "{name}");
        let owned = serde_json::from_str::<SecurityEvent>(event.get());
        assert!(
            owned.is_ok() || !schema,
            "{name}: the type reads what the schema takes: {owned:?}"
        );
        if let Ok(owned) = owned {
            let again: SecurityEvent =
                serde_json::from_slice(&owned.to_json()).expect("what is written can be read");
            assert_eq!(again, owned, "{name}");
        }
    }
    assert_eq!(judged, expected);
}

#[test]
fn the_types_take_the_vectors_as_they_say() {
    let text = typescript();
    assert!(text.contains("export interface SecurityEvent {"), "{text}");
    assert!(text.contains("  port?: number | null;"), "{text}");
    let Some(tsc) = compiler() else {
        eprintln!("no TypeScript compiler: types NOT compiled; .ci/typescript does it");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let mut uses = "import type { SecurityEvent } from \"./security-event\";\n".to_owned();
    for (at, vector) in vectors().iter().enumerate() {
        let expects = if vector.types { "" } else { "// @ts-expect-error\n" };
        let event = vector.event.get();
        uses += &format!("// {}\n{expects}export const e{at}: SecurityEvent =", vector.name);
        // In one line, so that the error is expected where it is found.
        uses += &format!(" {event};\n");
    }
    fs::write(dir.path().join("security-event.ts"), text).expect("ours");
    fs::write(dir.path().join("uses.ts"), uses).expect("ours");
    let output = Command::new(tsc)
        .args(["--strict", "--noEmit", "--target", "es2022", "uses.ts"])
        .current_dir(dir.path())
        .output()
        .expect("the compiler starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

/// The compiler that `.ci/typescript` installs, else the one on the path.
fn compiler() -> Option<std::path::PathBuf> {
    let ours =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/typescript/node_modules/.bin/tsc");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&paths).map(|path| path.join("tsc")).collect::<Vec<_>>();
    std::iter::once(ours).chain(others).find(|path| path.exists())
}
