//! Inputs of a running process that come, change and go.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::tls::Pair;
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
    assert!(log.contains("or name another place in `inputs[].listen`"), "{log}");
    assert_eq!(collector.events(), sent, "nothing twice");
    let account = format!("\"in_range\":{sent},\"delivered\":{sent}");
    assert!(log.contains(&account), "{log}");
}

impl Place {
    /// Sends the sample to an input over HTTP; the status of the answer.
    fn post(&self, pair: &Pair, address: SocketAddr) -> io::Result<String> {
        let mut session = pair.session(TcpStream::connect(address)?);
        let sample = self.sample();
        let length = sample.len();
        let head = "POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
        session.write_all(format!("{head}content-length: {length}\r\n\r\n").as_bytes())?;
        session.write_all(&sample)?;
        let mut answer = String::new();
        session.read_to_string(&mut answer)?;
        Ok(answer.get(9..12).unwrap_or_default().to_owned())
    }
}

/// A tool that renews it writes the certificate, and a moment later its key.
#[test]
fn a_certificate_that_cannot_be_read_ends_no_input() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let pair = place.certificate();
    let (cert, key) = (place.path("cert.pem"), place.path("key.pem"));
    let tls = format!("tls: {{cert_path: {}, key_path: {}}}", cert.display(), key.display());
    let with = |most: &str| {
        let http = format!("{{type: http, listen: '127.0.0.1:0', max_body_bytes: {most}, {tls}}}");
        place.take_from(&collector, &format!("EVENTS, {http}"));
    };
    with("8MiB");
    let mut running = place.run();
    let address = running.listens();
    assert_eq!(place.post(&pair, address).expect("it listens"), "200");
    place.write("cert.pem", &Pair::new().cert_pem);
    with("4MiB");
    let (code, told) = place.shrike(&["reload"]);
    assert!(code == Some(2) && told.contains("cert.pem: is of another key"), "{told}");
    assert_eq!(place.post(&pair, address).expect("it listens as before"), "200");
    place.write("cert.pem", &pair.cert_pem);
    place.said(&["reload"]);
    running.wait_for("\"listening\"");
    assert_eq!(place.post(&pair, running.listens()).expect("it listens"), "200");
    collector.wait_for(90);
    running.stop();
    assert_eq!(collector.events(), 90, "nothing twice");
}

/// Nobody restarts the process for it, and no later configuration may take it for running.
#[test]
fn an_input_that_could_not_be_put_back_is_opened_when_that_can_be() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    let (dir, aside) = (place.path("run"), place.path("aside"));
    std::fs::create_dir(&dir).expect("the directory is ours");
    let socket = dir.join("in.sock");
    let with = |format: &str| {
        let unix = format!("{{type: unix, path: {}, format: {format}}}", socket.display());
        place.take_from(&collector, &format!("EVENTS, {unix}"));
        // Read again when the test asks for it, and not while it sends.
        let text = std::fs::read_to_string(place.path("c.yaml")).expect("it was written");
        let text = text.replace("global: {", "global: {watch_config: false, ");
        place.write("c.yaml", &(text + "admin: {listen: '127.0.0.1:0'}\n"));
    };
    let send = || {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        stream.write_all(&place.sample()).expect("it reads");
    };
    with("auto");
    let mut running = place.run();
    running.wait_for_pages();
    send();
    collector.wait_for(30);
    // Neither the new one nor the old one finds a place for its socket.
    std::fs::rename(&dir, &aside).expect("the directory is ours");
    with("security_event");
    for _ in 0..2 {
        let (code, told) = place.shrike(&["reload"]);
        assert!(code == Some(2) && told.contains("in.sock"), "{told}");
    }
    let sent = 30 + place.append();
    collector.wait_for(sent);
    let unready = running.page("/readyz");
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    let told = format!("input {} cannot be opened again: ", socket.display());
    assert!(unready.contains(&told) && unready.contains("tried once a second"), "{unready}");
    assert!(running.metrics().contains("\nshrike_config_refused 1\n"), "{}", running.metrics());
    std::fs::rename(&aside, &dir).expect("the directory is ours");
    running.wait_for("\"opened again\"");
    send();
    collector.wait_for(sent + 30);
    wait_until("it is ready", || running.page("/readyz").starts_with("HTTP/1.1 200"));
    assert!(running.metrics().contains("\nshrike_config_refused 1\n"), "the file is as wrong");
    with("auto");
    assert_eq!(place.shrike(&["reload"]).0, Some(0));
    assert!(running.metrics().contains("\nshrike_config_refused 0\n"), "{}", running.metrics());
    running.stop();
    assert_eq!(collector.events(), sent + 30, "nothing twice");
}

/// It would be read from its beginning, or by two at once.
#[test]
fn an_input_that_is_read_once_goes_on_after_a_refused_configuration() {
    let place = Place::new();
    let collector = Collector::start("s3cr3t-one");
    place.configure(&collector, TOKEN);
    place.take_from(&collector, "{type: stdin}, EVENTS");
    let (mut running, mut stdin) = place.run_fed();
    stdin.write_all(&place.sample()).expect("it reads");
    collector.wait_for(30);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound");
    place.take_from(&collector, &format!("EVENTS, {{type: http, listen: '{address}'}}"));
    running.signal(Signal::HUP);
    running.wait_for("configuration refused; the running one stays");
    stdin.write_all(&place.sample()).expect("it reads");
    collector.wait_for(60);
    running.stop();
    assert_eq!(collector.events(), 60, "nothing twice");
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
