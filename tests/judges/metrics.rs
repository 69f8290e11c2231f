//! What Prometheus's own tool says of the page of a running process.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use loadgen::generate::Stream;

use crate::tools;

#[test]
fn promtool_has_nothing_to_say_of_the_metrics_of_a_running_process() {
    let Some(promtool) = tools::find("promtool") else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let address = tools::own_address(9401);
    let config = format!(
        "version: '1.0.0'\nglobal: {{state_dir: state}}\nlog: {{segment_bytes: 16MiB}}\n\
         admin: {{listen: '{address}'}}\n\
         inputs: [{{type: file, path: '{}', mode: append}}]\n\
         exporters: {{out: {{type: file, path: '{}', from: earliest}}}}\n",
        dir.path().join("events.jsonl").display(),
        dir.path().join("out.jsonl").display()
    );
    fs::write(dir.path().join("shrike.yaml"), config).expect("the directory is ours");
    let mut stream = Stream::new(3);
    let events = stream.next(EVENTS, usize::MAX, |_| 1_770_368_400_000_000_000);
    fs::write(dir.path().join("events.jsonl"), events.lines).expect("the directory is ours");
    let mut command = tools::shrike();
    command.current_dir(&dir).args(["run", "--config", "shrike.yaml"]).stderr(Stdio::piped());
    let mut process = Process(command.spawn().expect("the program is built"));

    let delivered = format!("shrike_exporter_events_delivered_total{{exporter=\"out\"}} {EVENTS}");
    let deadline = Instant::now() + Duration::from_secs(180);
    let page = loop {
        let page = page(address).unwrap_or_default();
        if page.contains(&delivered) {
            break page;
        }
        assert!(process.0.try_wait().expect("our child").is_none(), "{}", process.said());
        assert!(Instant::now() < deadline, "not all was delivered: {page}");
        std::thread::park_timeout(Duration::from_millis(10));
    };
    let check = |page: &str| {
        let mut promtool = tools::command(&promtool);
        promtool.args(["check", "metrics"]).stderr(Stdio::piped()).stdin(Stdio::piped());
        let mut child = promtool.spawn().expect("it is installed");
        // It reads all before it says anything.
        let mut into = child.stdin.take().expect("piped");
        into.write_all(page.as_bytes()).expect("it reads");
        drop(into);
        let output = child.wait_with_output().expect("it ends");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&page), (true, String::new()), "{page}");
    let (approves, said) = check(&page.replace("delivered_total", "delivered"));
    assert!(!approves && said.contains("_total"), "{said}");
}

/// As many as one batch of the generator has.
const EVENTS: u64 = 1_000;

/// The metrics, where somebody answers.
fn page(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
}

/// A running shrike that ends with the test.
struct Process(Child);

impl Process {
    /// What one that has ended said.
    fn said(&mut self) -> String {
        let mut text = String::new();
        if let Some(said) = &mut self.0.stderr {
            let _ = said.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
