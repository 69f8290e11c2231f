//! A command with something on its standard input.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Runs it to its end.
pub(crate) fn fed(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that reads nothing closes the pipe; its exit code tells.
    let _closed = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("the command ends")
}
