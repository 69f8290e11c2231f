//! Files that are one JSON document over many lines: receipts, exports of hushd's API.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Host, claws, lines, rewrite, upto};

/// A receipt as `hush run` writes it.
fn receipt(n: u32) -> String {
    let receipt = json!({
        "receipt": {
            "version": "1.0.0",
            "timestamp": "2026-02-06T12:00:00+00:00",
            "content_hash": "0xabc",
            "verdict": {"passed": false},
            "provenance": {"violations": [
                {"guard": "egress", "severity": "error", "message": format!("n{n}"), "action": "x"},
            ]},
        },
        "signatures": {"signer": "00"},
    });
    serde_json::to_string_pretty(&receipt).expect("a value is JSON")
}

/// Records as `GET /api/v1/audit?format=json` gives them.
fn array(numbers: impl IntoIterator<Item = u32>) -> String {
    let records: Vec<Value> = claws(numbers)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    serde_json::to_string_pretty(&records).expect("a value is JSON")
}

#[test]
fn a_receipt_is_read_as_a_whole_and_again_when_it_is_another() {
    let mut host = Host::new();
    let path = host.path("hush.run.receipt.json");
    rewrite(&path, &receipt(0));
    host.start("*.receipt.json", None);
    assert_eq!(host.numbers(), [0]);
    rewrite(&path, &receipt(1));
    assert_eq!(host.numbers(), upto(2), "the same length, other content");
    let next = receipt(2);
    rewrite(&path, &next[..next.len() / 2]);
    assert_eq!(host.numbers(), upto(2), "it is being written");
    rewrite(&path, &next);
    assert_eq!(host.numbers(), upto(3));
    host.start("*.receipt.json", None);
    assert_eq!(host.numbers(), upto(3), "nothing comes again");
    host.stop();
    fs::write(host.path("draft"), receipt(3)).expect("ours");
    fs::rename(host.path("draft"), &path).expect("ours");
    host.start("*.receipt.json", None);
    assert_eq!(host.numbers(), upto(4), "written while nobody looked");
    // One line without its ending is a document as well, where its format says so.
    let one: Value = serde_json::from_str(&receipt(4)).expect("JSON");
    host.start("*.receipt.json", shrike::dialects::mode_of("clawdstrike.receipt"));
    rewrite(&path, &one.to_string());
    assert_eq!(host.numbers(), upto(5));
    assert_eq!(host.account().rejected, 0);
}

#[test]
fn an_array_gives_its_elements_once_however_often_it_is_written() {
    let mut host = Host::new();
    let path = host.path("audit.json");
    rewrite(&path, &array(0..3));
    host.start("audit.json", None);
    assert_eq!(host.numbers(), upto(3));
    // The newest come first, as the API gives them.
    let all: Vec<u32> = (0..5).rev().collect();
    rewrite(&path, &array(all));
    assert_eq!(host.sorted(), upto(5));
    host.start("audit.json", None);
    assert_eq!(host.sorted(), upto(5));
    rewrite(&path, &array((0..6).rev()));
    assert_eq!(host.sorted(), upto(6), "nor after a restart");
    assert_eq!(host.account().rejected, 0);
}

#[test]
fn a_document_that_was_there_before_is_passed_over_until_it_is_another() {
    let mut host = Host::new();
    let path = host.path("r.json");
    rewrite(&path, &receipt(7));
    host.start_with("r.json", None, true);
    assert_eq!(host.numbers(), upto(0));
    rewrite(&path, &receipt(8));
    assert_eq!(host.numbers(), [8]);
}

#[test]
fn a_document_that_never_became_whole_is_refused_once_it_is_gone() {
    let mut host = Host::new();
    let path = host.path("r.json");
    let text = receipt(0);
    rewrite(&path, &text[..text.len() - 5]);
    host.start("r.json", None);
    assert_eq!((host.numbers(), host.account().rejected), (vec![], 0));
    fs::remove_file(&path).expect("ours");
    host.settle();
    host.now += Duration::from_secs(11);
    assert_eq!((host.numbers(), host.account().rejected), (vec![], 1));
}

#[test]
fn many_documents_are_each_read_once() {
    let mut host = Host::new();
    for n in 0..700 {
        rewrite(&host.path(&format!("{n:03}.receipt.json")), &receipt(n));
    }
    host.start("*.receipt.json", None);
    assert_eq!(host.sorted(), upto(700));
    host.now += Duration::from_secs(120);
    rewrite(&host.path("699.receipt.json"), &receipt(700));
    assert_eq!(host.sorted(), upto(701));
    host.start("*.receipt.json", None);
    assert_eq!(host.sorted(), upto(701));
}

#[test]
fn lines_behind_a_stray_brace_are_lines() {
    let mut host = Host::new();
    rewrite(&host.path("a.log"), &format!("{{\n{}", lines(0..3)));
    host.start("a.log", None);
    assert_eq!((host.numbers(), host.account().rejected), (upto(3), 1));
}
