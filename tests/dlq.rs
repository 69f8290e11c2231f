//! `shrike dlq`, `shrike log quarantine` and `shrike test`, as operators run them.

#[path = "support/binary.rs"]
mod binary;
#[path = "pipeline/destination.rs"]
mod destination;
#[path = "support/event.rs"]
mod event;
#[path = "support/siem.rs"]
mod siem;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use binary::{Place, wait_until};
use destination::{Destination, Manner};
use event::events;
use serde_json::Value;
use shrike::log::{Log, LogOptions, Mark};
use siem::siem;

/// The dead letters that `dlq list` shows.
fn letters(place: &Place, args: &[&str]) -> Vec<Value> {
    let text = place.run(&[&["dlq", "list", "--json"], args].concat(), 0);
    text.lines().map(|line| serde_json::from_str(line).expect("a letter is JSON")).collect()
}

#[test]
fn letters_are_seen_replayed_and_purged_without_a_running_process() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    place.append_lines(&events(0..64));
    let told = place.run(&["run", "--drain"], 1);
    assert!(told.contains("\"events\":4") && told.contains("`shrike dlq list siem`"), "{told}");
    assert_eq!(letters(&place, &[]).len(), 4);
    assert_eq!(letters(&place, &["--class", "rejected", "--since", "1h", "-n", "3"]).len(), 3);
    assert!(letters(&place, &["--class", "timeout"]).is_empty());
    for command in ["list", "replay", "purge"] {
        let told = place.run(&["dlq", command, "--class", "rejectd"], 2);
        assert!(told.contains("'rejectd'") && told.contains("rejected"), "{told}");
    }
    assert!(letters(&place, &["--since", "2500-01-01T00:00:00Z"]).is_empty());
    let stats = place.run(&["dlq", "stats"], 0);
    assert!(stats.contains("siem            4            0"), "{stats}");
    assert!(stats.contains("siem: 4 rejected") && stats.contains("not this one"), "{stats}");
    let id = "019c322d-fa80-7f99-8d84-000000000017";
    let shown: Value = serde_json::from_str(&place.run(&["dlq", "show", id], 0)).expect("JSON");
    assert_eq!((&shown["event"]["event_id"], &shown["http_status"]), (&id.into(), &400.into()));
    place.run(&["dlq", "show", "019c322d-fa80-7f99-8d84-000000000018"], 1);
    assert!(place.run(&["dlq", "list", "--exporter", "sien"], 2).contains("there are: siem"));
    assert!(place.run(&["dlq", "list", "sien"], 2).contains("there are: siem"));
    let of_one = place.run(&["dlq", "list", "siem"], 0);
    assert_eq!(of_one, place.run(&["dlq", "list", "--exporter", "siem"], 0));
    assert_eq!(stats, place.run(&["dlq", "stats", "siem"], 0));
    place.run(&["dlq", "list", "siem", "--exporter", "siem"], 2);

    let dry = place.run(&["dlq", "replay", "--dry-run"], 0);
    assert_eq!(dry.lines().count(), 5, "{dry}");
    assert_eq!(letters(&place, &[]).len(), 4, "nothing was sent");
    let vain = place.run(&["dlq", "replay", "--id", id], 1);
    assert_eq!(vain, "siem: 0 of 1 delivered, 1 stay\n");
    destination.turn(Manner::Accept);
    let done = place.run(&["dlq", "replay", "--id", id], 0);
    assert_eq!(done, "siem: 1 of 1 delivered, 0 stay\n");
    assert_eq!(destination.accepted().get(id), Some(&1));
    assert_eq!(letters(&place, &[]).len(), 3);

    // An id that no letter has is a mistake, whoever is asked.
    for command in ["show", "replay", "purge"] {
        let id: &[&str] = if command == "show" { &["no-id"] } else { &["--id", "no-id"] };
        let told = place.run(&[&["dlq", command][..], id].concat(), 1);
        assert!(told.contains("no dead letter of event no-id"), "{command}: {told}");
    }
    for time in ["soon", "2999-01-01T00:00:00Z"] {
        assert!(place.run(&["dlq", "list", "--since", time], 2).contains("from 1970 to 2554"));
    }
    assert!(place.run(&["dlq", "purge"], 2).contains("say --all"));
    let dry = place.run(&["dlq", "purge", "--dry-run"], 0);
    assert_eq!(dry, place.run(&["dlq", "list"], 0), "it removes nothing, and needs no --all");
    assert_eq!(place.run(&["dlq", "purge", "--class", "timeout"], 0), "siem: 0 removed\n");
    assert_eq!(place.run(&["dlq", "purge", "--all"], 0), "siem: 3 removed\n");
    assert!(letters(&place, &[]).is_empty());
    assert_eq!(destination.accepted().len(), 61);
}

#[test]
fn a_running_process_replays_and_the_others_only_look() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    let running = place.start();
    place.append_lines(&events(0..640));
    wait_until("40 letters", || letters(&place, &[]).len() == 40);
    let given_up = "given up as dead letters; `shrike dlq stats` says why";
    let is_told = |line: &str| line.contains("WARN") && line.contains(given_up);
    wait_until("somebody is told", || running.said().lines().any(is_told));
    destination.turn(Manner::Accept);
    let done = place.run(&["dlq", "replay", "--rate", "1000"], 0);
    assert_eq!(done, "siem: 40 of 40 delivered, 0 stay\n");
    let is_moved = || {
        let siem = place.exporter("siem");
        siem["delivered"] == 640 && siem["dead_lettered"] == 0 && siem["letters"] == 0
    };
    wait_until("they are moved", is_moved);
    assert_eq!(place.run(&["dlq", "purge", "--all"], 0), "siem: 0 removed\n");
    running.stop();
    assert!(destination.accepted().values().all(|&times| times == 1));
}

/// One that refuses keeps the others from nothing.
#[test]
fn a_replay_of_all_goes_on_past_one_that_is_paused() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    let text = place.configuration();
    let (_, siem) = text.split_once("  siem:").expect("it is there");
    place.configure(&format!("{text}  first:{siem}"));
    let running = place.start();
    place.append_lines(&events(0..64));
    wait_until("8 letters", || letters(&place, &[]).len() == 8);
    destination.turn(Manner::Accept);
    place.run(&["exporter", "pause", "first"], 0);
    let told = place.run(&["dlq", "replay"], 1);
    assert!(told.contains("exporter first is paused"), "{told}");
    assert!(told.contains("siem: 4 of 4 delivered, 0 stay\n"), "{told}");
    assert_eq!(letters(&place, &[]).len(), 4, "those of the other");
    running.stop_with(1);
}

/// What an endpoint says in its path or as a part of its name is no address.
#[test]
fn history_goes_nowhere_but_to_the_shadow_endpoint() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.append_lines(&events(0..4));
    place.configure(
        "global: {state_dir: state}\nexporters: {tower: {type: sumo_logic, http_source_url: \
         'https://collectors.example/receiver/v1/http/one', routing: [{condition: allowed, \
         http_source_url: 'https://other.example/receiver/v1/http/two'}]}}\n",
    );
    for shadow in [
        "https://other.example.shadow.lan/receiver/v1/http/x",
        "https://shadow.lan/receiver/v1/http/other.example",
        "https://other.example:8443/receiver/v1/http/x",
    ] {
        let told = place.run(&["test", "tower", "--from", "1h", "--to", shadow], 2);
        assert!(told.contains("would also send to other.example"), "{shadow}: {told}");
    }
    let left = std::fs::read_dir(place.path("state")).expect("it is ours").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("test-")), "{left:?}");
}

/// What it copies is what came in, and nobody else's.
#[test]
fn an_interrupted_test_leaves_no_copy_of_events() {
    let hanging = Destination::start(Manner::Hang);
    let place = siem(&hanging);
    place.append_lines(&events(0..4));
    let copies = || {
        let entries = std::fs::read_dir(place.path("state")).expect("it is ours").flatten();
        entries.filter(|it| it.file_name().to_string_lossy().starts_with("test-")).count()
    };
    let shadow = format!("http://{}", hanging.address);
    let start = || {
        let mut command = place.command(&["test", "siem", "--from", "1h", "--to", &shadow]);
        let testing = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let testing = testing.expect("the command starts");
        wait_until("it copies", || copies() == 1);
        testing
    };
    let mut killed = start();
    killed.kill().expect("it runs");
    killed.wait().expect("it ends");
    assert_eq!(copies(), 1, "nothing could remove it");
    // The next one does.
    let mut command = place.command(&["test", "siem", "--from", "1h", "--to", &shadow]);
    let mut interrupted = command.spawn().expect("the command starts");
    let own = format!("state/test-{}-", interrupted.id());
    let is_own = || {
        let entries = std::fs::read_dir(place.path("state")).expect("it is ours").flatten();
        entries.map(|it| it.path()).all(|it| {
            let is_copy = it.to_string_lossy().contains("state/test-");
            !is_copy || it.to_string_lossy().contains(&own)
        })
    };
    wait_until("its own alone", || copies() == 1 && is_own());
    let process = rustix::process::Pid::from_child(&interrupted);
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(interrupted.wait().expect("it ends").code(), Some(130));
    assert_eq!(copies(), 0);
}

/// An input that ended for an error is seen before somebody misses its events.
#[test]
fn an_input_that_failed_is_told_wherever_somebody_looks() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    let packed = zstd::encode_all(events(0..64).as_bytes(), 1).expect("memory");
    std::fs::write(place.path("half.zst"), &packed[..packed.len() / 2]).expect("it is ours");
    let text = place.configuration();
    place.configure(&format!(
        "{text}inputs: [{{type: file, path: half.zst, follow: false}}]\n\
         admin: {{listen: '127.0.0.1:0'}}\n"
    ));
    let running = place.start();
    wait_until("it failed", || place.status()["inputs"][0]["failed"] == true);
    assert!(place.run(&["status"], 0).contains("failed"), "{}", running.said());
    let said = running.said();
    let (_, address) = said.split_once("metrics are shown").expect("it listens");
    let (_, port) = address.split_once("127.0.0.1:").expect("an address");
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("it listens");
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("input half.zst has failed: see the log"), "{answer}");
    running.stop_with(1);
}

/// It waits as long as the destination takes nothing; whoever waits with it is told.
#[test]
fn a_replay_that_does_not_get_on_says_so() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    let running = place.start();
    place.append_lines(&events(0..16));
    wait_until("a letter", || letters(&place, &[]).len() == 1);
    destination.turn(Manner::Busy);
    let mut command = place.command(&["dlq", "replay"]);
    let mut replay = command.stderr(Stdio::piped()).spawn().expect("the command starts");
    let mut told = String::new();
    BufReader::new(replay.stderr.take().expect("piped")).read_line(&mut told).expect("text");
    assert!(told.starts_with("siem: nothing arrives at present; `shrike status`"), "{told}");
    destination.turn(Manner::Accept);
    assert!(replay.wait().expect("it ends").success());
    running.stop();
}

#[test]
fn a_replay_of_no_letters_leaves_the_processor_alone() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    let running = place.start();
    assert_eq!(place.run(&["dlq", "replay"], 0), "siem: 0 of 0 delivered, 0 stay\n");
    let before = running.ticks();
    std::thread::sleep(Duration::from_secs(1));
    let ticks = running.ticks() - before;
    assert!(ticks < 40, "{ticks} hundredths of a second of work in one second of rest");
    running.stop();
}

/// "1 if this run lost or dead-lettered anything" (`design.md` 9): what arrived after all is not
/// lost, and what is lost stays so, whatever becomes of the exporter meanwhile.
#[test]
fn the_exit_code_tells_of_letters_of_this_run_that_are_left() {
    // What comes between the letters and the end, and the exit code.
    type Between = fn(&Place);
    let rows: [(&str, Between, i32); 6] = [
        ("nothing", |_| {}, 1),
        ("all replayed", |place| drop(place.run(&["dlq", "replay"], 0)), 0),
        ("one replayed", |place| drop(place.run(&["dlq", "replay", "--id", ID], 0)), 1),
        ("purged", |place| drop(place.run(&["dlq", "purge", "--all"], 0)), 1),
        ("rewound", |place| drop(place.run(&["cursor", "rewind", "siem", "--to", "latest"], 0)), 1),
        (
            "changed",
            |place| {
                place.edit("siem:\n", "siem:\n    concurrency: 3\n");
                let is_taken = || place.run(&["audit", "log"], 0).contains("siem.concurrency: 3");
                wait_until("it is taken", is_taken);
            },
            1,
        ),
    ];
    for (what, between, code) in rows {
        let destination = Destination::start(Manner::Refuse('7'));
        let place = siem(&destination);
        // One letter of an earlier run, which counts for nothing.
        place.append_lines(&events(7..8));
        place.run(&["run", "--drain"], 1);
        let running = place.start();
        place.append_lines(&events(16..64));
        wait_until("four letters", || letters(&place, &[]).len() == 4);
        // What is replayed in vain is of the run that gave it up.
        place.run(&["dlq", "replay", "--id", OLD_ID], 1);
        destination.turn(Manner::Accept);
        between(&place);
        println!("{what}");
        running.stop_with(code);
    }
}

const OLD_ID: &str = "019c322d-fa80-7f99-8d84-000000000007";
const ID: &str = "019c322d-fa80-7f99-8d84-000000000017";

/// The refused lines, as JSON.
fn refused(place: &Place, args: &[&str]) -> Vec<Value> {
    let text = place.run(&[&["log", "quarantine", "list", "--json"], args].concat(), 0);
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn refused_lines_are_seen_and_stay_while_they_are_no_events() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.run(&["log", "quarantine", "list"], 1);
    let none = place.run(&["log", "quarantine", "retry"], 0);
    assert_eq!(none, "no such lines are in quarantine\n");
    assert!(refused(&place, &[]).is_empty(), "there is a log by now");
    let text = events(0..1) + "{\"nope\":1}\nnot json\n";
    place.run_with(&["append"], &text, 1);
    let lines = refused(&place, &[]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((&lines[1]["text"], &lines[1]["source"]), (&"not json".into(), &"append".into()));
    assert_eq!(lines[1]["offset"], u64::try_from(text.len() - 9).expect("small"));
    let class = lines[0]["class"].as_str().expect("a class").to_owned();
    assert_eq!(refused(&place, &["--class", &class, "--since", "1h"]).len(), 1);
    place.run(&["log", "quarantine", "list", "--class", "truncatd"], 2);
    assert!(refused(&place, &["--source", "elsewhere"]).is_empty());
    assert_eq!(refused(&place, &["-n", "1"]).len(), 1);
    let id = lines[1]["id"].to_string();
    let shown = place.run(&["log", "quarantine", "show", &id], 0);
    assert!(shown.starts_with("not json\n") && shown.contains("8 bytes of append"), "{shown}");
    place.run(&["log", "quarantine", "show", "12345678"], 1);
    place.run(&["log", "quarantine", "retry", "--id", "12345678"], 1);
    let table = place.run(&["log", "quarantine", "list"], 0);
    assert!(table.lines().count() == 3 && table.contains("not json"), "{table}");

    let retried = place.run(&["log", "quarantine", "retry"], 1);
    assert!(retried.starts_with("0 of 2 lines are events now"), "{retried}");
    assert_eq!(refused(&place, &[]), lines, "they are not kept twice");
}

#[test]
fn records_that_no_exporter_can_open_are_kept_once_and_retried() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.append_lines(&events(0..8));
    // A program that embeds the library appends what it likes: here a record of another dialect.
    let foreign = include_str!("fixtures/clawdstrike-audit.jsonl");
    let foreign = foreign.lines().next().expect("it has lines");
    let dir = place.path("state/log");
    let options = LogOptions { dir, segment_bytes: 8 << 20, ..LogOptions::default() };
    let (log, _) = Log::open(options).expect("nobody else has it");
    for record in [foreign, "no event"] {
        log.appender().append(record.as_bytes(), Mark::default()).expect("there is room");
    }
    log.close().expect("the disk takes it");

    place.run(&["run", "--drain"], 1);
    let kept = refused(&place, &["--source", "log"]);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!((&kept[0]["text"], &kept[1]["text"]), (&foreign.into(), &"no event".into()));
    place.run(&["cursor", "rewind", "siem", "--to", "earliest"], 0);
    place.run(&["run", "--drain"], 1);
    assert_eq!(refused(&place, &["--source", "log"]), kept, "another pass finds no others");

    let running = place.start();
    let retried = place.run(&["log", "quarantine", "retry", "--source", "log"], 1);
    assert!(retried.starts_with("1 of 2 lines are events now: 1 appended"), "{retried}");
    assert_eq!(refused(&place, &[]), kept[1..], "the event is out of quarantine");
    wait_until("it arrives", || destination.accepted().len() == 9);
    // The running process writes what was done with its next receipts.
    let log = || place.run(&["audit", "log"], 0);
    wait_until("it is noted", || log().contains("quarantine_retry  by user "));
    running.stop();
}

#[test]
fn a_test_over_history_prints_or_goes_elsewhere_and_leaves_no_trace() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    place.append_lines(&events(0..64));
    place.run(&["run", "--drain"], 1);
    let before = (place.run(&["cursor", "show"], 0), letters(&place, &[]));
    let running = place.start();

    let dry = place.run(&["test", "siem", "--from", "1h"], 0);
    assert_eq!(dry.lines().filter(|line| line.contains("\"create\"")).count(), 64, "{dry}");
    assert!(dry.contains("siem: 64 events would be sent in "), "{dry}");
    let some = place.run(&["test", "siem", "--from", "earliest", "-n", "5", "--quiet"], 0);
    let told = some.lines().last().expect("it is told");
    assert!(told.starts_with("siem: 5 events would be sent") && some.lines().count() == 2);
    let none = place.run(&["test", "siem", "--from", "2500-01-01T00:00:00Z"], 1);
    assert!(none.contains("is still to come"), "{none}");
    place.run(&["test", "sien", "--from", "1h"], 2);

    let shadow = Destination::start(Manner::Refuse('3'));
    let url = format!("http://{}", shadow.address);
    let sent = place.run(&["test", "siem", "--from", "1h", "--to", &url], 1);
    let account = "siem: 64 events = 60 delivered + 4 dead-lettered + 0 filtered";
    assert!(sent.starts_with(account) && sent.contains("not this one"), "{sent}");
    assert_eq!(shadow.accepted().len(), 60);
    shadow.turn(Manner::Busy);
    let args = ["test", "siem", "--from", "1h", "--to", &url, "--timeout", "300ms"];
    assert!(place.run(&args, 3).contains("64 pending"), "an endpoint that is down is said");

    running.stop();
    assert!(destination.accepted().values().all(|&times| times == 1), "nothing was sent there");
    assert_eq!((place.run(&["cursor", "show"], 0), letters(&place, &[])), before);
    let left = std::fs::read_dir(place.path("state")).expect("it is ours");
    let names = left.map(|entry| entry.expect("an entry").file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with("test-")));
}

/// What an exporter gave up is not gone with its configuration.
#[test]
fn letters_of_an_exporter_that_is_not_configured_any_more_are_told() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    place.append_lines(&events(0..16));
    place.run(&["run", "--drain"], 1);
    place.edit("siem:", "other:");
    let id = "019c322d-fa80-7f99-8d84-000000000007";
    std::fs::create_dir(place.path("state/dlq/no-store")).expect("the directory is ours");
    let shown = place.run(&["audit", "show", "--event", id], 0);
    assert!(shown.contains("siem: dead letter since "), "{shown}");
    assert!(shown.contains("letters left out: "), "{shown}");
    assert!(!shown.contains("is not kept"), "{shown}");
    assert_eq!(letters(&place, &["siem"]).len(), 1);
    assert!(place.run(&["dlq", "stats", "siem"], 0).contains("siem: 1 rejected"));
    place.run(&["dlq", "show", id, "--exporter", "siem"], 0);
    for command in [&["replay"][..], &["purge", "--all"]] {
        let told = place.run(&[&["dlq"], command, &["siem"]].concat(), 2);
        assert!(told.contains("no exporter `siem`; there are: other"), "{told}");
        assert!(told.contains("dlq/siem") && told.contains("configure it again"), "{told}");
    }
    for no_name in ["", "..", "../dlq/siem"] {
        place.run(&["dlq", "list", "--exporter", no_name], 2);
    }
    let told = place.run(&["dlq", "list", "sien"], 2);
    assert!(!told.contains("configure it again"), "{told}");
}

#[test]
fn a_process_whose_socket_is_gone_is_told_from_none() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    let none = place.run(&["status"], 1);
    assert!(none.contains("no shrike runs in"), "{none}");
    let running = place.start();
    let socket = place.path("state/control.sock");
    std::fs::remove_file(&socket).expect("it is there");
    std::fs::create_dir(&socket).expect("it is ours");
    for command in [&["status"][..], &["reload"]] {
        let told = place.run(command, 1);
        assert!(told.contains("its control socket") && told.contains("try again"), "{told}");
    }
    std::fs::remove_dir(&socket).expect("it is ours");
    wait_until("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    assert!(place.run(&["status"], 0).contains("siem"));
    running.stop();
    let none = place.run(&["status"], 1);
    assert!(none.contains("no shrike runs in"), "{none}");
}

/// Whoever looks at what is kept has not the secrets of the process that keeps it.
#[test]
fn what_is_kept_is_seen_without_the_secrets() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    place.run_with(&["append"], &(events(0..16) + "no event\n"), 1);
    place.run(&["run", "--drain"], 1);
    let text = place.configuration();
    let secret = |text: &str, secrets: &str| {
        let auth = "auth: {type: none}";
        assert!(text.contains(auth), "{text}");
        text.replace(auth, &format!("auth: {{type: basic, {secrets}}}"))
    };
    // A variable, a file, a Vault, and keys of other kinds beside them.
    let far = "credentials: {vault: {address: 'https://192.0.2.1', auth_method: token, \
               token: '${NO_TOKEN}'}}\nprivacy: {hash_salt: '${file:/no/salt}'}\n";
    let lacking = secret(&text, "username: '${NO_USER}', password: '${vault:secret/data/x#y}'")
        .replace("global: {", "global: {environment: '${NO_ENVIRONMENT}', ")
        + "    headers: {x-key: '@/no/file'}\n    tls: {client_cert_path: '${NO_PATH}', \
           client_key_path: /no/key}\n"
        + far;
    let id = "019c322d-fa80-7f99-8d84-000000000007";
    let line = refused(&place, &[])[0]["id"].to_string();
    let looks: [&[&str]; 15] = [
        &["dlq", "list"],
        &["dlq", "show", id],
        &["dlq", "stats"],
        &["dlq", "replay", "--dry-run"],
        &["dlq", "purge", "--id", id, "--dry-run"],
        &["audit", "show", "--event", id],
        &["audit", "verify"],
        &["audit", "log"],
        &["cursor", "show"],
        &["log", "cat"],
        &["log", "stat", "--json"],
        &["log", "verify"],
        &["log", "quarantine", "list"],
        &["log", "quarantine", "show", &line],
        &["log", "quarantine", "retry", "--dry-run"],
    ];
    let before: Vec<String> = looks.iter().map(|look| place.run(look, 0)).collect();
    place.configure(&lacking);
    for (look, before) in looks.iter().zip(before) {
        assert_eq!(place.run(look, 0), before, "{look:?}");
    }
    // What sends, or says what would be sent, needs them all.
    let sends: [&[&str]; 6] = [
        &["run", "--drain"],
        &["check"],
        &["render", "siem"],
        &["test", "siem", "--from", "1h"],
        &["dlq", "replay"],
        &["append"],
    ];
    for send in sends {
        let told = place.run(send, 2);
        assert!(told.contains("the environment has no variable NO_USER"), "{send:?}: {told}");
    }

    // A process that runs has them.
    place.configure(&text);
    let running = place.start();
    place.configure(&lacking);
    place.append_lines(&events(16..17));
    destination.turn(Manner::Accept);
    let done = place.run(&["dlq", "replay"], 0);
    assert_eq!(done, "siem: 1 of 1 delivered, 0 stay\n");
    place.run(&["cursor", "rewind", "siem", "--to", "latest"], 0);
    place.run(&["log", "quarantine", "retry"], 1);
    running.stop();

    // Where things lie has to be known.
    let unknown = lacking.replace("segment_bytes: 8MiB", "segment_bytes: 8MiB, dir: '${NO_DIR}'");
    place.configure(&unknown);
    let told = place.run(&["log", "cat"], 2);
    assert!(told.contains("log.dir: the environment has no variable NO_DIR"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

/// Whoever forgot its checkpoint begins no pass again that was there before.
#[test]
fn a_rewind_over_a_damaged_cursor_begins_a_pass_of_its_own() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    place.append_lines(&events(0..32));
    let rewind = ["cursor", "rewind", "siem", "--to", "earliest"];
    for _ in 0..2 {
        place.run(&["run", "--drain"], 1);
        place.run(&rewind, 0);
    }
    place.run(&["run", "--drain"], 1);
    assert_eq!(letters(&place, &[]).len(), 6, "two of each pass, 0 to 2");
    let cursor = place.path("state/log/cursors/siem.cursor");
    std::fs::write(&cursor, "no cursor").expect("the directory is ours");
    assert!(place.run(&rewind, 0).contains("siem         3"), "a pass that was not there yet");
    place.run(&["run", "--drain"], 1);
    assert_eq!(letters(&place, &[]).len(), 8, "each pass has its own");
    place.run(&["audit", "verify"], 0);
}

/// A rewind that moves on leaves events behind: it says how many, here and in the chain.
#[test]
fn a_rewind_says_what_it_leaves() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.append_lines(&events(0..5));
    place.run(&["run", "--drain"], 0);
    place.append_lines(&events(5..12));
    for to in ["2499-01-01T00:00:00Z", "99999999"] {
        let told = place.run(&["cursor", "rewind", "siem", "--to", to], 1);
        assert!(told.contains("`latest` for the end"), "{told}");
    }
    let left = "7 events before ";
    let told = place.run(&["cursor", "rewind", "siem", "--to", "latest"], 0);
    assert!(told.contains(left), "{told}");
    assert_eq!(place.run(&["audit", "log"], 0).matches(left).count(), 1);
    assert!(!place.run(&["cursor", "rewind", "siem", "--to", "earliest"], 0).contains(left));
    // The same of a running process.
    destination.turn(Manner::Busy);
    let running = place.start();
    let told = place.run(&["cursor", "rewind", "siem", "--to", "latest"], 0);
    assert!(told.contains("12 events before "), "{told}");
    running.stop();
    assert_eq!(place.run(&["audit", "log"], 0).matches("12 events before ").count(), 1);
}

/// What a test over history leaves out is said, and what cannot be read is no success.
#[test]
fn a_test_over_history_says_where_it_stopped() {
    let destination = Destination::start(Manner::Accept);
    let place = siem(&destination);
    place.append_lines(&events(0..12));
    let test = |args: &[&str], code| {
        place.run(&[&["test", "siem", "--quiet", "--from"][..], args].concat(), code)
    };
    let told = test(&["earliest", "--limit", "5"], 0);
    assert!(told.contains("the first 5 events: 7 more follow"), "{told}");
    assert!(!test(&["earliest", "--limit", "12"], 0).contains("more follow"));
    assert!(test(&["99999999"], 1).contains("beyond the end of the log"));
}

/// One store that cannot be read hides no letters of another.
#[test]
fn a_damaged_store_hides_no_other() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    let whole = place.configuration();
    let (head, one) = whole.split_once("  siem:\n").expect("one exporter");
    place.configure(&format!("{head}  also:\n{one}  siem:\n{one}"));
    place.append_lines(&events(0..16));
    place.run(&["run", "--drain"], 1);
    let control = place.path("state/dlq/also/control");
    std::fs::write(&control, "no control page").expect("the directory is ours");
    for command in ["list", "stats"] {
        let told = place.run(&["dlq", command], 1);
        assert!(told.contains("also: ") && told.contains("siem  "), "{command}: {told}");
        place.run(&["dlq", command, "also"], 1);
        place.run(&["dlq", command, "siem"], 0);
    }
    let id = "019c322d-fa80-7f99-8d84-000000000007";
    let told = place.run(&["dlq", "show", id], 1);
    assert!(told.contains("\"exporter\": \"siem\""), "{told}");
    let told = place.run(&["audit", "show", "--event", id], 1);
    assert!(told.contains("also: dead_lettered at ") && told.contains("left out"), "{told}");
    assert!(told.contains("siem: dead letter since "), "{told}");
}

/// A letter whose event could not be kept says so, and has a name that commands know.
#[test]
fn a_letter_without_its_event_is_told_and_can_be_named() {
    let destination = Destination::start(Manner::Refuse('7'));
    let place = siem(&destination);
    place.configure(&(place.configuration() + "    dlq: {max_bytes: 8MiB}\n"));
    let reason = format!("\"reason\":\"{}\",\"event_id\":", "x".repeat(3_000_000));
    place.append_lines(&events(7..8).replacen("\"event_id\":", &reason, 1));
    let told = place.run(&["run", "--drain"], 1);
    assert!(told.contains("dead letter without its event"), "{told}");
    let listed = place.run(&["dlq", "list"], 0);
    assert!(listed.contains("event not kept (offset 1048576 of the log): "), "{listed}");
    // By its place in the store, since one whose event cannot be read has no id.
    let name = "64";
    assert!(place.run(&["dlq", "show", name], 0).contains("\"event\": null"));
    assert!(place.run(&["dlq", "purge", "--id", "1"], 1).contains("no dead letter of event 1"));
    assert!(place.run(&["dlq", "purge", "--id", name], 0).contains("siem: 1 removed"));
    assert!(letters(&place, &[]).is_empty());
}
