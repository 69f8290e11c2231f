//! A process of the binary that runs until it is told to stop.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::equation::assert_equation_said;

/// A running process; whoever starts one ends it.
pub(crate) struct Running {
    child: Child,
    said: PathBuf,
}

impl Running {
    /// Starts it; what it says on standard error goes to a file.
    pub(crate) fn start(mut command: Command, said: PathBuf) -> Self {
        let file = File::create(&said).expect("the directory is ours");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Self { child: command.spawn().expect("the command starts"), said }
    }

    /// What it has said by now.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).expect("it is there")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// The time that it spent on a processor, in ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(stat).expect("it runs");
        let (_, fields) = stat.rsplit_once(')').expect("the name of the program");
        // utime and stime, the 14th and the 15th (proc_pid_stat(5)).
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks.map(|field| field.parse::<u64>().expect("a number")).sum()
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("it ends");
    }

    /// Stops it in order; all that it said.
    #[track_caller]
    pub(crate) fn stop(self) -> String {
        self.stop_with(0)
    }

    /// The same, where it ends with this code.
    #[track_caller]
    pub(crate) fn stop_with(mut self, code: i32) -> String {
        self.signal(Signal::TERM);
        let ended = self.child.wait().expect("it ends").code();
        let said = self.said();
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains("\"account\""), "{said}");
        assert_equation_said(&said);
        said
    }
}

impl Drop for Running {
    /// A test that fails leaves no process behind; another has seen how it ends.
    fn drop(&mut self) {
        let has_ended = self.child.try_wait().expect("it is ours").is_some();
        // Nothing is to be done where it has.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        assert!(has_ended || std::thread::panicking(), "nobody stopped it:\n{}", self.said());
    }
}
