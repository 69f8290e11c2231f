//! Inputs of a running process that come, change and go.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::{Collector, Place, wait_until};

const TOKEN: &str = "    hec_token: s3cr3t-one\n";

impl Place {
    /// The usual configuration with these inputs.
    fn take_from(&self, collector: &Collector, inputs: &str) {
        let events = format!("{{type: file, path: {}}}", self.events());
        let text = self.text(collector, TOKEN);
        assert!(text.contains(&events), "{text}");
        let inputs = inputs.replace("EVENTS", &events);
        self.write("c.yaml", &text.replace(&events, &inputs));
    }

    /// Appends the sample to a file; says how many events it has.
    fn append_to(&self, name: &str) -> usize {
        let sample = self.sample();
        self.add(name, &sample);
        sample.iter().filter(|&&byte| byte == b'\n').count()
    }

    fn add(&self, name: &str, text: &[u8]) {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(self.path(name));
        file.and_then(|mut file| file.write_all(text)).expect("the directory is ours");
    }
}

#[test]
fn connections_that_wait_are_told_once() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let socket = place.path("in.sock");
    place.configure(&collector, TOKEN);
    place.take_from(&collector, &format!("EVENTS, {{type: unix, path: {}}}", socket.display()));
    let running = place.run();
    wait_until("it listens", || socket.exists());
    let connect = |_| UnixStream::connect(&socket).expect("it listens");
    let silent: Vec<UnixStream> = (0..63).map(connect).collect();
    for _ in 0..20 {
        connect(0).write_all(&place.sample()).expect("it waits in the socket");
    }
    collector.wait_for(30);
    drop(silent);
    let said = running.stop();
    assert_eq!(said.matches("further connections wait").count(), 1, "{said}");
}

#[test]
fn lines_that_are_no_events_are_told_once_in_a_while() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    let path = place.path("bad.jsonl");
    place.take_from(&collector, &format!("EVENTS, {{type: file, path: {}}}", path.display()));
    let mut running = place.run();
    std::fs::write(&path, "no event\n").expect("ours");
    running.wait_for("lines that are no events; `shrike log quarantine list`");
    std::fs::write(&path, "no event\nnor this\n").expect("ours");
    let sent = place.append();
    collector.wait_for(sent);
    let said = running.stop();
    assert_eq!(said.matches("lines that are no events;").count(), 1, "{said}");
}

#[test]
fn inputs_come_and_go_and_each_goes_on_where_it_was() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    let mut running = place.run();
    let mut sent = place.append();
    collector.wait_for(sent);
    // Two more, beside the one that stays.
    let (more, socket) = (place.path("more.jsonl"), place.path("in.sock"));
    let more = format!("{{type: file, path: {}}}", more.display());
    let unix = format!("{{type: unix, path: {}}}", socket.display());
    place.take_from(&collector, &format!("EVENTS, {more}, {unix}"));
    running.signal(Signal::HUP);
    running.wait_for("configuration reloaded");
    sent += place.append_to("more.jsonl");
    collector.wait_for(sent);
    let mut stream = UnixStream::connect(&socket).expect("it listens");
    stream.write_all(&place.sample()).expect("it reads");
    drop(stream);
    sent += 30;
    collector.wait_for(sent);
    sent += place.append();
    collector.wait_for(sent);
    // The first goes, and the socket with it.
    place.take_from(&collector, &more);
    running.signal(Signal::HUP);
    running.wait_for("configuration reloaded");
    assert!(UnixStream::connect(&socket).is_err(), "nobody listens any more");
    let missed = place.append();
    sent += place.append_to("more.jsonl");
    collector.wait_for(sent);
    // It comes back, and goes on where it was.
    place.take_from(&collector, &format!("{more}, EVENTS"));
    running.signal(Signal::HUP);
    running.wait_for("configuration reloaded");
    sent += missed;
    collector.wait_for(sent);
    // What cannot be opened changes nothing, whatever else the file says.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("it is bound");
    place.take_from(&collector, &format!("EVENTS, {{type: http, listen: '{}'}}", taken.1));
    running.signal(Signal::HUP);
    running.wait_for("configuration refused; the running one stays");
    sent += place.append_to("more.jsonl");
    sent += place.append();
    collector.wait_for(sent);
    let log = running.stop();
    assert!(log.contains("inputs: listening on 127.0.0.1:"), "{log}");
    assert_eq!(collector.events(), sent, "nothing twice");
    let account = format!("\"in_range\":{sent},\"delivered\":{sent}");
    assert!(log.contains(&account), "{log}");
}

#[test]
fn the_level_of_the_log_follows_the_configuration() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    let mut running = place.run();
    collector.wait_for(place.append());
    let louder =
        place.text(&collector, TOKEN).replace("global: {", "global: {log: {level: debug}, ");
    place.write("c.yaml", &louder);
    running.signal(Signal::HUP);
    running.wait_for("configuration reloaded");
    place.append();
    running.wait_for("batch answered");
    let log = running.stop();
    assert!(!log.contains("takes effect after a restart"), "{log}");
}

#[test]
fn a_tenant_that_is_configured_later_wins_over_that_of_a_record() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    let mut running = place.run();
    let record = |number: u32| {
        format!(
            "{{\"id\":\"019c32d0-0000-7000-8000-{number:012x}\",\"timestamp\":\
             \"2026-02-06T12:00:01Z\",\"event_type\":\"check\",\"action_type\":\"shell\",\
             \"decision\":\"allowed\",\"metadata\":{{\"principal\":{{\"organization_id\":\
             \"acme\"}}}}}}\n"
        )
    };
    place.add("events.jsonl", record(1).as_bytes());
    collector.wait_for(1);
    let text = place.text(&collector, TOKEN).replace("global: {", "global: {tenant_id: globex, ");
    place.write("c.yaml", &text);
    running.signal(Signal::HUP);
    running.wait_for("configuration reloaded");
    place.add("events.jsonl", record(2).as_bytes());
    collector.wait_for(2);
    drop(running.stop());
    let said = place.said(&["log", "cat"]);
    let tenants: Vec<bool> =
        said.lines().map(|line| line.contains("\"tenant_id\":\"acme\"")).collect();
    assert_eq!(tenants, [true, false], "{said}");
}
