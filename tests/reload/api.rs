//! The admin API of a running process: who may do what, and what comes of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use crate::tls::Pair;
use crate::{Collector, Place, Running, wait_until};

const VIEWER: &str = "viewer-0123456789abcdef";
const OPERATOR: &str = "operator-0123456789abcdef";
const ADMIN: &str = "admin-0123456789abcdef";
const LATER: &str = "later-0123456789abcdef";

/// Pages and tokens, below the exporters of a configuration.
fn keys(tokens: &[(&str, &str, &str)], more: &str) -> String {
    let tokens: Vec<String> = tokens
        .iter()
        .map(|(name, token, role)| format!("{{name: {name}, token: {token}, role: {role}}}"))
        .collect();
    format!(
        "    hec_token: s3cr3t-one\nadmin: {{listen: '127.0.0.1:0', tokens: [{}]{more}}}\n",
        tokens.join(", ")
    )
}

/// An answer: its status and its body.
fn ask(connection: impl Read + Write, method: &str, path: &str, token: &str) -> (u16, String) {
    ask_with(connection, method, path, token, "")
}

fn ask_with(
    mut connection: impl Read + Write,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) -> (u16, String) {
    let shown = match token {
        "" => String::new(),
        token => format!("authorization: Bearer {token}\r\n"),
    };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{shown}content-length: {length}\r\n\r\n{body}"
    );
    connection.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("it answers and closes");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.pages()).expect("it listens")
}

#[test]
fn a_token_permits_what_its_role_may_and_changes_are_audited() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let tokens =
        [("eye", VIEWER, "viewer"), ("hand", OPERATOR, "operator"), ("head", ADMIN, "admin")];
    place.configure(&collector, &keys(&tokens, ""));
    let mut running = place.run();
    running.wait_for_pages();
    let ask = |method, path, token| ask(connect(&running), method, path, token);
    let status = |method, path, token| ask(method, path, token).0;
    // Whoever shows nothing, or something else, learns that the process lives, and no more.
    assert_eq!(status("GET", "/healthz", ""), 200);
    assert_eq!(status("GET", "/metrics", ""), 401);
    assert_eq!(status("GET", "/metrics", VIEWER), 200);
    assert_eq!(status("GET", "/api/v1/exporters", ""), 401);
    assert_eq!(status("GET", "/api/v1/exporters", "viewer-0123456789abcdeg"), 401);
    assert_eq!(status("POST", "/api/v1/config/reload", ""), 401);
    assert_eq!(status("POST", "/api/v1/config/reload", VIEWER), 403);
    assert_eq!(status("POST", "/api/v1/config/reload", OPERATOR), 403);
    assert_eq!(status("POST", "/api/v1/exporters/splunk/pause", VIEWER), 403);
    assert_eq!(status("POST", "/api/v1/dlq/splunk/replay", VIEWER), 403);
    assert_eq!(status("PUT", "/api/v1/exporters", ADMIN), 405);
    assert_eq!(status("POST", "/api/v1/exporters", ADMIN), 405);
    assert_eq!(status("GET", "/api/v1/nothing", ADMIN), 404);
    assert_eq!(status("GET", "/api/v1/exporters/splonk", VIEWER), 404);
    assert_eq!(status("POST", "/api/v1/exporters/splonk/pause", OPERATOR), 404);
    let first = place.append();
    collector.wait_for(first);
    let exporters = ask("GET", "/api/v1/exporters", VIEWER).1;
    let exporters: Value = serde_json::from_str(&exporters).expect("JSON");
    assert_eq!(exporters[0]["name"], "splunk");
    let (found, config) = ask("GET", "/api/v1/config", VIEWER);
    assert_eq!(found, 200);
    assert!(config.contains("hec_token: \"***\""), "{config}");
    assert!(!config.contains("s3cr3t") && !config.contains("0123456789abcdef"), "{config}");
    // A paused exporter sends nothing and keeps its place.
    assert_eq!(
        ask("POST", "/api/v1/exporters/splunk/pause", OPERATOR),
        (200, "{\"state\":\"paused\"}\n".to_owned())
    );
    let paused = || {
        let one = ask("GET", "/api/v1/exporters/splunk", OPERATOR).1;
        serde_json::from_str::<Value>(&one).expect("JSON")["state"] == "paused"
    };
    assert!(paused());
    let second = place.append();
    let written = format!("shrike_account_in_range{{exporter=\"splunk\"}} {}", first + second);
    wait_until("the second sample in the log", || {
        ask("GET", "/metrics", VIEWER).1.contains(&written)
    });
    assert_eq!(collector.events(), first, "nothing is sent");
    let metrics = ask("GET", "/metrics", VIEWER).1;
    for (name, labels, value) in [
        ("shrike_exporter_paused", "", 1),
        ("shrike_exporter_healthy", "", 0),
        ("shrike_account_in_range", "", first + second),
        ("shrike_account_events", ",fate=\"delivered\"", first),
        ("shrike_account_events", ",fate=\"pending\"", second),
        ("shrike_exporter_lag_events", "", second),
    ] {
        let line = format!("\n{name}{{exporter=\"splunk\"{labels}}} {value}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    assert_eq!(status("POST", "/api/v1/exporters/splunk/flush", OPERATOR), 409, "it is paused");
    // A reload leaves it paused.
    assert_eq!(status("POST", "/api/v1/config/reload", ADMIN), 200);
    assert!(paused());
    assert_eq!(collector.events(), first, "nothing is sent");
    assert_eq!(status("POST", "/api/v1/exporters/splunk/resume", OPERATOR), 200);
    collector.wait_for(first + second);
    assert!(!paused());
    let replay =
        |body| ask_with(connect(&running), "POST", "/api/v1/dlq/splunk/replay", OPERATOR, body);
    assert_eq!(replay("{\"sinze\": \"1h\"}").0, 400);
    assert_eq!(replay("{\"since\": \"soon\"}").0, 400);
    assert_eq!(replay("{\"rate\": 0}").0, 400);
    let (found, why) = replay("{\"class\": \"rejectd\"}");
    assert!(found == 400 && why.contains("rejected, "), "{found}: {why}");
    let (found, progress) = replay("{\"since\": \"1h\", \"rate\": 5}");
    assert_eq!(found, 200, "{progress}");
    assert!(progress.contains("\"wanted\":0"), "there is none: {progress}");
    let (found, progress) = replay("{\"really_alert\": true}");
    assert_eq!(found, 200, "{progress}");
    // A new pass: a typing error moves nothing.
    let path = "/api/v1/exporters/splunk/rewind";
    let rewind = |body| ask_with(connect(&running), "POST", path, OPERATOR, body);
    assert_eq!(status("POST", path, VIEWER), 403);
    for wrong in
        ["", "{}", "{\"to\": 0}", "{\"to\": \"soon\"}", "{\"to\": \"1h\", \"alert\": true}"]
    {
        let (found, why) = rewind(wrong);
        assert!(found == 400 && why.contains("expected "), "{wrong}: {found}: {why}");
    }
    let (found, why) = rewind("{\"to\": \"99999999\"}");
    assert!(found == 409 && why.contains("beyond the end of the log"), "{found}: {why}");
    let (found, cursor) = rewind("{\"to\": \"latest\"}");
    assert_eq!(found, 200, "{cursor}");
    let (found, cursor) = rewind("{\"to\": \"latest\", \"really_alert\": true}");
    let cursor: Value = serde_json::from_str(&cursor).expect("JSON");
    assert!(found == 200 && cursor["pass"] == 2, "{cursor}");
    // Another set of tokens, and a wrong file that changes nothing.
    place.configure(&collector, &keys(&[("heir", LATER, "admin")], ""));
    assert_eq!(status("POST", "/api/v1/config/reload", ADMIN), 200);
    assert_eq!(status("POST", "/api/v1/config/reload", ADMIN), 401, "it is no token any more");
    place.configure(&collector, &keys(&[("heir", LATER, "admin"), ("short", "x", "admin")], ""));
    let (found, why) = ask("POST", "/api/v1/config/reload", LATER);
    assert_eq!(found, 422, "{why}");
    assert!(why.contains("admin.tokens[1].token: expected at least 16 bytes"), "{why}");
    assert_eq!(status("GET", "/api/v1/exporters", LATER), 200, "the last ones stay");
    let refused = ask("GET", "/metrics", LATER).1;
    assert!(refused.contains("shrike_admin_refused_total 10"), "{refused}");
    let log = running.stop();
    assert!(!log.contains("0123456789abcdef"), "{log}");
    assert_eq!(collector.events(), first + second, "nothing twice");
    let audit = place.audit();
    let has = |action: &str, by: &str| {
        audit
            .lines()
            .any(|line| line.contains(&format!("\"action\":\"{action}\"")) && line.contains(by))
    };
    for (action, by) in [
        ("pause", "token hand, 127.0.0.1:"),
        ("resume", "token hand, 127.0.0.1:"),
        ("dlq_replay", "token hand, 127.0.0.1:"),
        ("dlq_replay", "0 letters; --really-alert"),
        ("rewind", "token hand, 127.0.0.1:"),
        ("rewind", "; --really-alert"),
        ("reload", "token head, 127.0.0.1:"),
        ("reload", "token heir, 127.0.0.1:"),
    ] {
        assert!(has(action, by), "{action} by {by}: {audit}");
    }
    assert!(audit.contains("admin.tokens[0].token: another secret"), "{audit}");
    assert!(!audit.contains("0123456789abcdef"), "{audit}");
}

#[test]
fn the_api_is_shown_over_tls() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let pair = place.certificate();
    let (cert, key) = (place.path("cert.pem"), place.path("key.pem"));
    let tls = format!(", tls: {{cert_path: {}, key_path: {}}}", cert.display(), key.display());
    place.configure(&collector, &keys(&[("eye", VIEWER, "viewer")], &tls));
    let mut running = place.run();
    running.wait_for_pages();
    let connection = pair.session(connect(&running));
    let (status, body) = ask(connection, "GET", "/api/v1/exporters", VIEWER);
    assert_eq!(status, 200, "{body}");
    // In the clear there is no answer.
    let mut plain = connect(&running);
    plain.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").expect("it takes some");
    let mut rest = Vec::new();
    let _reset = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP"));
    drop(running.stop());
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let old = place.certificate();
    let (cert, key) = (place.path("cert.pem"), place.path("key.pem"));
    let files = format!("{{cert_path: {}, key_path: {}}}", cert.display(), key.display());
    let with = format!(", tls: {files}");
    let input = format!("inputs: [{{type: http, listen: '127.0.0.1:0', tls: {files}}}]\n");
    let text = |admin: &str| {
        let text = place.text(&collector, &keys(&[("eye", VIEWER, "viewer")], admin));
        let (before, after) = text.split_once("inputs: ").expect("it has inputs");
        let after = after.split_once('\n').expect("a line").1;
        format!("{before}{input}{after}")
    };
    place.write("c.yaml", &text(&with));
    let mut running = place.run();
    running.wait_for_pages();
    let (pages, events) = (running.pages(), running.listens());
    // Whether whoever trusts this pair alone gets an answer.
    let is_shown = |pair: &Pair, address| {
        let tcp = TcpStream::connect(address).expect("it listens");
        let mut session = pair.session(tcp);
        let request = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        session.write_all(request.as_bytes()).is_ok()
    };
    assert!(is_shown(&old, pages) && is_shown(&old, events));
    // One file is replaced before the other: until they are a pair the last ones stay.
    let new = Pair::new();
    place.write("cert.pem", &new.cert_pem);
    running.wait_for("certificate not read again; the last one stays");
    running.wait_for("cert.pem: is of another key than the one in ");
    assert!(is_shown(&old, pages) && is_shown(&old, events));
    place.write("key.pem", &new.key_pem);
    running.wait_for("certificate read again");
    running.wait_for("certificate read again");
    for address in [pages, events] {
        assert!(is_shown(&new, address) && !is_shown(&old, address));
    }
    place.write("cert.pem", "nothing of it");
    running.wait_for("cert.pem: holds no certificate; expected a chain as PEM");
    assert!(is_shown(&new, pages) && is_shown(&new, events));
    place.write("cert.pem", &new.cert_pem);
    running.wait_for("certificate read again");
    running.wait_for("certificate read again");
    // And none at all, at the same address.
    place.write("c.yaml", &text(""));
    let report = place.said(&["reload"]);
    assert!(report.contains("- admin.tls.cert_path"), "{report}");
    assert!(!report.contains("restart"), "{report}");
    assert_eq!(ask(connect(&running), "GET", "/healthz", "").0, 200);
    assert!(is_shown(&new, events));
    // One that cannot be read is refused as a whole.
    place.write("c.yaml", &text(&with.replace("cert.pem", "nowhere.pem")));
    running.wait_for("configuration refused; the running one stays");
    assert_eq!(ask(connect(&running), "GET", "/healthz", "").0, 200);
    let log = running.stop();
    assert!(log.contains("admin.tls: ") && log.contains("nowhere.pem"), "{log}");
    assert!(place.audit().contains("admin shows another certificate"), "{log}");
}

#[test]
fn commands_pause_resume_and_flush() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    // Nothing is sent by itself within the hour.
    let lingering =
        "    hec_token: s3cr3t-one\n    batch: {linger_ms: 3600000, flush_on_severity: none}\n";
    place.configure(&collector, lingering);
    let running = place.run();
    let first = place.append();
    wait_until("all of it flushed", || {
        assert_eq!(place.said(&["exporter", "flush", "splunk"]), "exporter splunk is running\n");
        collector.events() == first
    });
    let said = place.said(&["exporter", "pause", "splunk"]);
    assert_eq!(said, "exporter splunk is paused until it is resumed or shrike starts again\n");
    // It is shown as it is, and what it would have to run for is refused with the reason.
    let held = place.append();
    let status: Value = serde_json::from_str(&place.said(&["status", "--json"])).expect("JSON");
    let splunk = &status["exporters"][0];
    assert_eq!((&splunk["state"], &splunk["delivered"]), (&"paused".into(), &first.into()));
    assert_eq!(status["state"], "paused", "the worst of all");
    wait_until("what waits", || {
        let status: Value = serde_json::from_str(&place.said(&["status", "--json"])).expect("JSON");
        status["exporters"][0]["pending"] == held
    });
    assert!(place.said(&["cursor", "show", "splunk"]).contains("splunk"));
    for command in [
        &["cursor", "rewind", "splunk", "--to", "earliest"][..],
        &["dlq", "replay", "splunk"],
        &["dlq", "purge", "splunk", "--all"],
    ] {
        let (code, told) = place.shrike(command);
        assert!(code == Some(1) && told.contains("exporter resume splunk"), "{told}");
    }
    assert_eq!(place.said(&["exporter", "resume", "splunk"]), "exporter splunk is running\n");
    wait_until("the rest flushed", || {
        place.said(&["exporter", "flush", "splunk"]);
        collector.events() == first + held
    });
    let log = running.stop();
    let account = format!("\"in_range\":{0},\"delivered\":{0}", first + held);
    assert!(log.contains(&account), "{log}");
    // Ends with 0 where the chain holds.
    assert!(!place.said(&["audit", "verify"]).is_empty());
}

/// What is on its way is waited for, and nobody sees two of one meanwhile.
#[test]
fn an_exporter_that_is_being_paused_is_shown_once() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let to = |listener: &TcpListener| listener.local_addr().expect("it is bound").to_string();
    let text = place.text(&collector, &keys(&[], ""));
    place.write("c.yaml", &text.replace(&collector.address.to_string(), &to(&silent)));
    let mut running = place.run();
    running.wait_for_pages();
    place.append();
    let in_flight = "shrike_exporter_in_flight{exporter=\"splunk\"} 1\n";
    wait_until("a request", || running.metrics().contains(in_flight));
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| place.said(&["exporter", "pause", "splunk"]));
        while !pausing.is_finished() {
            let metrics = running.metrics();
            let shown = metrics.matches("shrike_exporter_paused{exporter=\"splunk\"}").count();
            assert_eq!(shown, 1, "{metrics}");
        }
        pausing.join().expect("it is paused");
    });
    assert!(running.metrics().contains("shrike_exporter_paused{exporter=\"splunk\"} 1\n"));
    running.stop();
}

/// Its place would be lost, and nobody would look after it.
#[test]
fn an_exporter_whose_place_cannot_be_written_down_is_not_paused() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, "    hec_token: s3cr3t-one\n");
    let running = place.run();
    let first = place.append();
    collector.wait_for(first);
    // A file in the place of the directory lets no checkpoint be saved.
    let (cursors, aside) = (place.path("state/log/cursors"), place.path("aside"));
    std::fs::rename(&cursors, &aside).expect("the directory is ours");
    std::fs::write(&cursors, b"").expect("the directory is ours");
    let (code, told) = place.shrike(&["exporter", "pause", "splunk"]);
    assert!(code == Some(1) && told.contains("splunk.draft"), "{told}");
    let state = || {
        let status = place.said(&["status", "--json"]);
        let status: Value = serde_json::from_str(&status).expect("JSON");
        status["exporters"][0]["state"].clone()
    };
    assert!(state() != "paused" && state() != Value::Null, "{}", state());
    let second = place.append();
    collector.wait_for(first + second);
    std::fs::remove_file(&cursors).expect("the directory is ours");
    std::fs::rename(&aside, &cursors).expect("the directory is ours");
    let said = place.said(&["exporter", "pause", "splunk"]);
    assert!(said.contains("is paused"), "{said}");
    assert_eq!(state(), "paused");
    running.stop();
    assert_eq!(collector.events(), first + second, "nothing twice");
}

/// It is still listened to where others may reach it, until the next start.
#[test]
fn pages_ask_for_tokens_until_their_address_is_another() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let first = keys(&[("eye", VIEWER, "viewer")], "");
    place.configure(&collector, &first);
    let mut running = place.run();
    running.wait_for_pages();
    let status = |token| ask(connect(&running), "GET", "/metrics", token).0;
    assert_eq!((status(""), status(VIEWER)), (401, 200));
    let token = "    hec_token: s3cr3t-one\n";
    for keys in [token.to_owned(), format!("{token}admin: {{listen: '127.0.0.1:9'}}\n")] {
        place.configure(&collector, &keys);
        let said = place.said(&["reload"]);
        let told = said.lines().find(|line| line.contains("- admin.tokens"));
        assert!(told.is_some_and(|line| line.contains("after a restart")), "{said}");
        assert_eq!((status(""), status(VIEWER)), (401, 200), "{keys}");
    }
    place.configure(&collector, &first.replace(VIEWER, LATER));
    place.said(&["reload"]);
    assert_eq!((status(""), status(VIEWER), status(LATER)), (401, 401, 200));
    running.stop();
}
