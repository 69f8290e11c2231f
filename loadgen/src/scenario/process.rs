//! The shrike process: started, fed, measured, ended.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::bench::{Bench, ScenarioError};

/// A running process whose costs are taken down.
pub(super) struct Process {
    what: &'static str,
    child: Child,
    meter: Option<JoinHandle<Usage>>,
    ended: Arc<AtomicBool>,
    log: PathBuf,
}

/// What a process cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    /// CPU time in user mode and in the kernel, all threads, seconds.
    pub(super) cpu_s: f64,
    /// Time from start to end, seconds.
    pub(super) wall_s: f64,
    /// Anonymous memory over time: seconds since the start, bytes.
    pub(super) anonymous: Vec<(f64, u64)>,
}

impl Usage {
    /// The most anonymous memory that was seen, MiB.
    pub(super) fn anonymous_max_mib(&self) -> f64 {
        let most = self.anonymous.iter().map(|&(_, bytes)| bytes).max().unwrap_or(0);
        most as f64 / f64::from(1 << 20)
    }

    /// The most between two moments, MiB.
    pub(super) fn anonymous_between_mib(&self, from_s: f64, to_s: f64) -> f64 {
        let inside = self.anonymous.iter().filter(|&&(at, _)| at >= from_s && at < to_s);
        inside.map(|&(_, bytes)| bytes).max().unwrap_or(0) as f64 / f64::from(1 << 20)
    }
}

impl Process {
    /// Starts shrike with a configuration and more arguments.
    pub(super) fn shrike(
        bench: &Bench,
        config: &Path,
        arguments: &[&str],
        stdin: Stdio,
    ) -> Result<Self, ScenarioError> {
        let mut command = Command::new(&bench.settings.shrike);
        command.arg("run").arg("--config").arg(config).args(arguments);
        command.envs(bench.env().iter().map(|(name, value)| (name, value)));
        for set in &bench.settings.set {
            command.arg("--set").arg(set);
        }
        Self::start("shrike", command, stdin, bench)
    }

    /// Starts a command; what it says goes to files of the run.
    pub(super) fn start(
        what: &'static str,
        mut command: Command,
        stdin: Stdio,
        bench: &Bench,
    ) -> Result<Self, ScenarioError> {
        let log = bench.path(&format!("{what}.log"));
        let open = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .map_err(ScenarioError::io(format!("write {}", path.display())))
        };
        let (out, err) = (open(&bench.path(&format!("{what}.out")))?, open(&log)?);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(stdin)
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(ScenarioError::io(format!("start {program}")))?;
        let ended = Arc::new(AtomicBool::new(false));
        let pid = child.id();
        let seen = Arc::clone(&ended);
        let meter = std::thread::spawn(move || measure(pid, &seen));
        Ok(Self { what, child, meter: Some(meter), ended, log })
    }

    /// Its standard input, once.
    pub(super) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Whether it runs no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits for its end, which must be a success.
    pub(super) fn finish(mut self, limit: Duration) -> Result<Usage, ScenarioError> {
        let (status, usage) = self.wait(limit)?;
        if !status.success() {
            let what = self.what.to_owned();
            return Err(ScenarioError::Ended { what, status, said: self.said() });
        }
        Ok(usage)
    }

    /// Asks it to end, and waits for that; it must be a success.
    pub(super) fn terminate(self, limit: Duration) -> Result<Usage, ScenarioError> {
        self.signal("TERM")?;
        self.finish(limit)
    }

    /// Sends it a signal, by its short name.
    pub(super) fn signal(&self, name: &str) -> Result<(), ScenarioError> {
        let (pid, option) = (self.child.id().to_string(), format!("-{name}"));
        let asked = Command::new("kill").args([&option, &pid]).status();
        asked.map(drop).map_err(ScenarioError::io(format!("send SIG{name} to {}", self.what)))
    }

    /// Kills it without a warning.
    pub(super) fn kill(mut self) -> Result<Usage, ScenarioError> {
        self.child.kill().map_err(ScenarioError::io(format!("kill {}", self.what)))?;
        Ok(self.wait(KILL_LIMIT)?.1)
    }

    fn wait(&mut self, limit: Duration) -> Result<(ExitStatus, Usage), ScenarioError> {
        let begin = Instant::now();
        while !self.has_ended() {
            if begin.elapsed() > limit {
                let what = self.what.to_owned();
                let said = self.said();
                return Err(ScenarioError::Late { what, expected: "end", limit, said });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let meter = self.meter.take().expect("a process is waited for once");
        let usage = meter.join().unwrap_or_default();
        let status =
            self.child.wait().map_err(ScenarioError::io(format!("wait for {}", self.what)))?;
        Ok((status, usage))
    }

    /// The end of what it said.
    pub(super) fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SAID_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ends what a failed scenario left; after `finish` it is gone already.
        if self.meter.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Samples a process until it is a zombie; then its times are final and still there to read.
fn measure(pid: u32, ended: &AtomicBool) -> Usage {
    let begin = Instant::now();
    let mut usage = Usage::default();
    while let Some((state, cpu_s)) = stat(pid) {
        usage.cpu_s = cpu_s;
        usage.wall_s = begin.elapsed().as_secs_f64();
        if state == 'Z' || state == 'X' {
            break;
        }
        if let Some(bytes) = anonymous(pid) {
            usage.anonymous.push((usage.wall_s, bytes));
        }
        std::thread::sleep(SAMPLE);
    }
    ended.store(true, Ordering::Relaxed);
    usage
}

/// State and CPU seconds of a process (proc(5), `/proc/pid/stat` fields 3, 14 and 15).
fn stat(pid: u32) -> Option<(char, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields are counted behind it.
    let rest = text.rsplit_once(") ")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some((fields.first()?.chars().next()?, (ticks(11)? + ticks(12)?) as f64 / TICKS_PER_SECOND))
}

/// Anonymous resident bytes (proc(5), `RssAnon` of `/proc/pid/status`).
fn anonymous(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// `sysconf(_SC_CLK_TCK)` is 100 on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Time between two looks at a process: its end is seen this late at most.
const SAMPLE: Duration = Duration::from_millis(10);
/// A killed process is gone in no time.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// Lines that are shown of a process that failed.
const SAID_LINES: usize = 20;
