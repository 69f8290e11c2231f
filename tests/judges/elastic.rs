//! What the types of Elastic's own client say of what shrike prepares in a cluster.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use loadgen::generate::Stream;

use crate::{equation, tools};

#[test]
fn elastics_client_has_types_for_what_is_prepared() {
    let Some(tsc) = tools::find("tsc") else { return };
    let puts = Arc::new(Mutex::new(Vec::new()));
    let address = cluster(Arc::clone(&puts));
    for (mode, more) in [("daily", ""), ("alias", ", shards: 3"), ("data_stream", ", replicas: 0")]
    {
        prepare(&format!(
            "{{nodes: ['http://{address}'], auth: {{type: none}}, compression: none, \
             index: {{mode: {mode}{more}}}}}"
        ));
    }
    prepare(&format!(
        "{{nodes: ['http://{address}'], auth: {{type: none}}, compression: none, format: native}}"
    ));
    let puts = puts.lock().expect("no lock is poisoned");
    // A policy and a template of each mode and of another format, and the first index behind an
    // alias.
    assert_eq!(puts.len(), 9, "{puts:?}");
    let mut text = "import type { estypes as t } from '@elastic/elasticsearch';\n".to_owned();
    let mut say = |path: &str, body: &str| {
        let (kind, name) = match path.split('/').nth(1).expect("paths begin with a slash") {
            "_ilm" => ("IlmPutLifecycleRequest", "name"),
            "_index_template" => ("IndicesPutIndexTemplateRequest", "name"),
            _ => ("IndicesCreateRequest", "index"),
        };
        writeln!(text, "({body}) satisfies Omit<t.{kind}, '{name}'>;").expect("text takes all");
    };
    puts.iter().for_each(|(path, body)| say(path, body));
    for (right, wrong) in [
        ("\"min_age\"", "\"min_agee\""),
        ("\"max_primary_shard_size\"", "\"max_shard_size\""),
        ("\"set_priority\"", "\"setpriority\""),
        ("\"composed_of\"", "\"composedof\""),
        ("\"is_write_index\"", "\"is_write\""),
        ("\"type\":\"wildcard\"", "\"type\":\"wild\""),
        ("\"ignore_above\"", "\"ignoreabove\""),
        ("\"date_detection\"", "\"detects_dates\""),
        ("\"match_mapping_type\"", "\"match_type\""),
    ] {
        let (path, body) = puts.iter().find(|(_, body)| body.contains(right)).expect(right);
        // The compiler complains where the line after this is right.
        say(path, &format!("\n// @ts-expect-error\n{}", body.replacen(right, wrong, 1)));
    }
    assert_eq!(said(&tsc, &text), "", "{text}");
    let unmarked = text.replacen("// @ts-expect-error", "", 1);
    assert!(said(&tsc, &unmarked).contains("error TS"), "the compiler looks at it");
}

/// Sends one event through an exporter, which prepares the cluster first.
fn prepare(exporter: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = format!("global: {{state_dir: state}}\nexporters:\n  elastic: {exporter}\n");
    fs::write(dir.path().join("shrike.yaml"), config).expect("the directory is ours");
    let mut stream = Stream::new(5);
    let events = stream.next(1, usize::MAX, |_| 1_770_368_400_000_000_000);
    fs::write(dir.path().join("events.jsonl"), events.lines).expect("the directory is ours");
    let mut command = tools::shrike();
    command.current_dir(&dir).args(["run", "--config", "shrike.yaml"]);
    command.args(["--input", "events.jsonl", "--drain"]);
    let output = command.output().expect("the program is built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    equation::assert_equation_said(&said);
}

/// What the compiler says of a program, beside the types of the client that was installed with it.
fn said(tsc: &Path, text: &str) -> String {
    let modules = tsc.ancestors().nth(2).expect("it lies in node_modules/.bin");
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::os::unix::fs::symlink(modules, dir.path().join("node_modules")).expect("ours");
    fs::write(dir.path().join("bodies.ts"), text).expect("the directory is ours");
    let mut command = Command::new(tsc);
    command.args(["--strict", "--noEmit", "--skipLibCheck", "--target", "es2022"]);
    command.args(["--module", "node16", "--moduleResolution", "node16", "bodies.ts"]);
    let output = command.current_dir(dir.path()).output().expect("it is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An empty cluster that takes what it is given; paths and bodies of what is put are kept.
fn cluster(puts: Arc<Mutex<Vec<(String, String)>>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let puts = Arc::clone(&puts);
            thread::spawn(move || serve(&stream.expect("a connection"), &puts));
        }
    });
    address
}

fn serve(stream: &TcpStream, puts: &Mutex<Vec<(String, String)>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|&bytes| bytes > 0)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_ascii_lowercase()),
            }
        }
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |bytes| bytes.parse().expect("a number"))];
        reader.read_exact(&mut body).ok()?;
        let mut words = lines[0].split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let (status, answer) = match (method, path) {
            ("put", _) => {
                let body = String::from_utf8(body).expect("bodies are text");
                puts.lock().expect("no lock is poisoned").push((path.to_owned(), body));
                ("200 OK", r#"{"acknowledged":true}"#)
            }
            ("post", _) => ("200 OK", r#"{"errors":false,"items":[{"create":{"status":201}}]}"#),
            (_, "/") => ("200 OK", "{}"),
            _ => ("404 Not Found", "{}"),
        };
        let length = answer.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nX-Elastic-Product: Elasticsearch\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut writer = stream;
        writer.write_all((head + answer).as_bytes()).ok()?;
    }
}
