//! Real receivers of syslog: rsyslog and syslog-ng, started here on loopback with a configuration
//! of this test's, take what the real process sends, and say of each message what they read in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use loadgen::generate::Stream;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::equation::assert_equation_said;
use crate::{rfc5424, tools};

/// A way from shrike to a receiver.
#[derive(Clone, Copy, Debug)]
struct Way {
    transport: &'static str,
    framing: &'static str,
    events: usize,
}

/// As many datagrams as a socket's usual buffer holds, however late its reader comes.
const WAYS: [Way; 4] = [
    Way { transport: "udp", framing: "octet_counting", events: 40 },
    Way { transport: "tcp", framing: "octet_counting", events: 2_000 },
    Way { transport: "tcp", framing: "newline", events: 2_000 },
    Way { transport: "tls", framing: "octet_counting", events: 2_000 },
];

#[test]
fn rsyslog_reads_in_every_message_what_we_wrote() {
    let Some(program) = tools::find("rsyslogd") else { return };
    for way in WAYS {
        check(way, |place, address| {
            let file = place.path("rsyslog.conf");
            fs::write(&file, rsyslog(way, place, address)).expect("the directory is ours");
            let mut command = tools::command(&program);
            command.args(["-n", "-i", "NONE", "-f"]).arg(file);
            command.arg("-M").arg(tools::modules("rsyslog"));
            place.start(command)
        });
    }
}

#[test]
fn syslog_ng_reads_in_every_message_what_we_wrote() {
    let Some(program) = tools::find("syslog-ng") else { return };
    for way in WAYS {
        check(way, |place, address| {
            let file = place.path("syslog-ng.conf");
            fs::write(&file, syslog_ng(way, place, address)).expect("the directory is ours");
            let mut command = tools::command(&program);
            command.args(["--foreground", "--no-caps"]).arg("--cfgfile").arg(file);
            for (flag, name) in
                [("persist-file", "persist"), ("pidfile", "pid"), ("control", "ctl")]
            {
                command.arg(format!("--{flag}={}", place.path(name).display()));
            }
            command.arg(format!("--module-path={}", tools::modules("syslog-ng").display()));
            place.start(command)
        });
    }
}

/// The settings of rsyslog: a line of JSON for each message.
fn rsyslog(way: Way, place: &Place, address: SocketAddr) -> String {
    let properties = [
        ("pri", "pri"),
        ("host", "hostname"),
        ("app", "app-name"),
        ("process", "procid"),
        ("kind", "msgid"),
        ("data", "structured-data"),
        ("text", "msg"),
    ]
    .map(|(name, property)| {
        format!("property(outname=\"{name}\" name=\"{property}\" format=\"jsonf\")\n")
    });
    let module = match way.transport {
        "udp" => "module(load=\"imudp\")",
        "tcp" => "module(load=\"imtcp\")",
        _ => {
            "module(load=\"imtcp\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" \
             StreamDriver.AuthMode=\"x509/name\" PermittedPeer=[\"client.example\"])"
        }
    };
    let tls = match way.transport {
        "tls" => format!(
            "DefaultNetstreamDriverCAFile=\"{}\" DefaultNetstreamDriverCertFile=\"{}\" \
             DefaultNetstreamDriverKeyFile=\"{}\"",
            place.path("ca.pem").display(),
            place.path("server.pem").display(),
            place.path("server.key").display()
        ),
        _ => String::new(),
    };
    format!(
        "global(workDirectory=\"{}\" maxMessageSize=\"64k\" {tls})\n{module}\n\
         input(type=\"im{}\" address=\"{}\" port=\"{}\")\n\
         template(name=\"lines\" type=\"list\" option.jsonf=\"on\") {{\n{}}}\n\
         action(type=\"omfile\" file=\"{}\" template=\"lines\")\n",
        place.0.path().display(),
        if way.transport == "udp" { "udp" } else { "tcp" },
        address.ip(),
        address.port(),
        properties.concat(),
        place.path("out.jsonl").display(),
    )
}

/// The settings of syslog-ng: the same lines.
fn syslog_ng(way: Way, place: &Place, address: SocketAddr) -> String {
    let (driver, flags) = match (way.transport, way.framing) {
        ("tcp", "newline") | ("udp", _) => ("network", "flags(syslog-protocol)"),
        _ => ("syslog", ""),
    };
    let tls = match way.transport {
        "tls" => format!(
            "tls(key-file(\"{}\") cert-file(\"{}\") ca-file(\"{}\") \
             peer-verify(required-trusted))",
            place.path("server.key").display(),
            place.path("server.pem").display(),
            place.path("ca.pem").display()
        ),
        _ => String::new(),
    };
    format!(
        "@version: 3.38\n\
         options {{ keep-hostname(yes); use-dns(no); dns-cache(no); chain-hostnames(no); \
         log-msg-size(65536); }};\n\
         source in {{ {driver}(ip(\"{}\") port({}) transport(\"{}\") {flags} {tls}); }};\n\
         destination out {{ file(\"{}\" template(\"$(format-json --scope none pri=$PRI \
         host=$HOST app=$PROGRAM process=$PID kind=$MSGID data=$SDATA text=$MSG)\\n\")); }};\n\
         log {{ source(in); destination(out); }};\n",
        address.ip(),
        address.port(),
        way.transport,
        place.path("out.jsonl").display(),
    )
}

/// Sends events to a receiver and compares what it read with what `shrike render` shows.
fn check(way: Way, start: impl Fn(&Place, SocketAddr) -> Child) {
    let place = Place(tempfile::tempdir().expect("a temporary directory"));
    certificates(&place);
    let address = tools::own_address(if way.transport == "tls" { 6514 } else { 5514 });
    let mut events = Vec::new();
    let mut stream = Stream::new(7);
    let mut count = 0;
    while count < way.events {
        let event = stream.one(1_770_368_400_000_000_000);
        // What one message takes unshrunk.
        if event.len() < if way.transport == "udp" { 900 } else { 60_000 } {
            events.extend_from_slice(event);
            events.push(b'\n');
            count += 1;
        }
    }
    fs::write(place.path("events.jsonl"), events).expect("the directory is ours");
    let config = format!(
        "version: '1.0.0'\nglobal: {{state_dir: '{}'}}\nlog: {{segment_bytes: 16MiB}}\n\
         exporters:\n  syslog:\n    timeout_ms: 5m\n\
         \x20   address: '{address}'\n    transport: {}\n    framing: {}\n\
         \x20   tls: {{ca_cert_path: '{}', client_cert_path: '{}', client_key_path: '{}', \
         server_name: localhost}}\n",
        place.path("state").display(),
        way.transport,
        way.framing,
        place.path("ca.pem").display(),
        place.path("client.pem").display(),
        place.path("client.key").display(),
    );
    fs::write(place.path("shrike.yaml"), config).expect("the directory is ours");

    let child = start(&place, address);
    let (out, said) = (place.path("out.jsonl"), place.path(SAID));
    let mut receiver = Receiver { child, out, said };
    receiver.wait_until_it_listens(way, address);
    let output = place
        .shrike("run")
        .args(["--drain", "--drain-timeout", "180s", "--input", "events.jsonl"])
        .output()
        .expect("the program is built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{way:?}: {said}");
    assert_equation_said(&said);
    let account = said.lines().find(|line| line.contains("\"message\":\"account\""));
    let account: Value = serde_json::from_str(account.expect("it ends with an account"))
        .expect("the process's log is JSON");
    assert_eq!(account["in_range"], way.events, "{way:?}");
    assert_eq!(account["delivered"], way.events, "{way:?}");

    let read = receiver.wait_for(way.events);
    // A session that is resumed, which rsyslog refuses where it asks for certificates.
    assert!(!receiver.said().contains("session id context"), "{}", receiver.said());
    let mut render = place.shrike("render");
    render.args(["syslog", "events.jsonl", "--set", "exporters.syslog.transport=tcp"]);
    render.args(["--set", "exporters.syslog.framing=newline"]);
    let rendered = render.output().expect("the program is built");
    let rendered = String::from_utf8(rendered.stdout).expect("messages are UTF-8");
    let mut expected = BTreeMap::new();
    for line in rendered.lines() {
        let message = rfc5424::read(line.as_bytes());
        expected.insert(message.data["shrike@32473"]["eventId"].clone(), message);
    }
    assert_eq!((expected.len(), read.len()), (way.events, way.events), "{way:?}");
    for line in read {
        let part = |name: &str| text(&line[name]);
        let data = part("data");
        let id = data.split("eventId=\"").nth(1).and_then(|rest| rest.split('"').next());
        let id = id.unwrap_or_else(|| panic!("{way:?}: no id: {line}"));
        let message = expected.remove(id).unwrap_or_else(|| panic!("{id} comes twice"));
        assert_eq!(part("pri"), message.priority.to_string(), "{way:?}: {line}");
        assert_eq!(part("host"), message.hostname, "{way:?}: {line}");
        assert_eq!(part("app"), message.app_name, "{way:?}: {line}");
        assert_eq!(part("process"), message.procid, "{way:?}: {line}");
        assert_eq!(part("kind"), message.msgid, "{way:?}: {line}");
        assert_eq!(document(part("text").trim_start()), document(&message.text), "{way:?}: {id}");
    }
}

/// A value as text, numbers in their digits.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A document without the moment at which shrike took it in.
fn document(text: &str) -> Value {
    let mut document: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let metadata = document["metadata"].as_object_mut();
    metadata.expect("every event has metadata").remove("ingested_at");
    document.as_object_mut().expect("an object").remove("ingested_at");
    document
}

/// A directory of its own for each receiver.
struct Place(tempfile::TempDir);

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts a receiver; what it says goes into a file.
    fn start(&self, mut command: Command) -> Child {
        let said = fs::File::create(self.path(SAID)).expect("the directory is ours");
        command.stderr(said).spawn().expect("it is installed")
    }

    fn shrike(&self, command: &str) -> Command {
        let mut shrike = tools::shrike();
        shrike.current_dir(&self.0).args([command, "--config", "shrike.yaml"]);
        shrike
    }
}

/// A running receiver.
struct Receiver {
    child: Child,
    out: PathBuf,
    said: PathBuf,
}

impl Receiver {
    /// Receivers say nowhere that they listen: a message that arrives tells, and over TLS a
    /// connection.
    fn wait_until_it_listens(&mut self, way: Way, address: SocketAddr) {
        let probe = "<13>1 - - probe - - - up";
        let counted = format!("{} {probe}", probe.len());
        self.wait("listen", |receiver| match (way.transport, way.framing) {
            ("tls", _) => TcpStream::connect(address).is_ok(),
            ("udp", _) => {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
                // Refused as long as nobody listens.
                let _ = socket.send_to(probe.as_bytes(), address);
                receiver.text().contains("probe")
            }
            (_, framing) => {
                let said =
                    if framing == "newline" { format!("{probe}\n") } else { counted.clone() };
                let sent =
                    TcpStream::connect(address).and_then(|mut it| it.write_all(said.as_bytes()));
                sent.is_ok() && receiver.text().contains("probe")
            }
        });
    }

    /// What it read, once so many of our messages are there.
    fn wait_for(&mut self, messages: usize) -> Vec<Value> {
        let ours = |text: &str| text.lines().filter(|line| line.contains("eventId=")).count();
        self.wait("read all", |receiver| {
            let text = receiver.text();
            text.ends_with('\n') && ours(&text) >= messages
        });
        let text = self.text();
        let lines = text.lines().filter(|line| line.contains("eventId="));
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        lines.map(parse).collect()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Looks again and again until something holds.
    fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                panic!("it ended before it could {what}: {status}: {}", self.said());
            }
            assert!(Instant::now() < deadline, "it did not {what}: {}", self.said());
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// The file with what a receiver says on standard error.
const SAID: &str = "said.txt";
/// What a machine with far too much to do may take.
const PATIENCE: Duration = Duration::from_secs(180);

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and what it made for both ends.
fn certificates(place: &Place) {
    let write = |name: &str, text: String| {
        fs::write(Path::new(&place.path(name)), text).expect("the directory is ours");
    };
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Who has the name of its issuer is self-signed to OpenSSL.
    params.distinguished_name.push(DnType::CommonName, "authority");
    let key = KeyPair::generate().expect("a key");
    write("ca.pem", params.self_signed(&key).expect("a certificate").pem());
    let issuer = Issuer::new(params, key);
    for (file, name) in [("server", "localhost"), ("client", "client.example")] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        write(&format!("{file}.pem"), params.signed_by(&key, &issuer).expect("signed").pem());
        write(&format!("{file}.key"), key.serialize_pem());
    }
}
