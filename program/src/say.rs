//! Output of lines to standard output and standard error, both of which can be closed.

use std::fmt::Display;
use std::future::Future;
use std::io::{self, ErrorKind, Write as _};
use std::{process, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use tokio::sync::oneshot;

/// Writes a line of a command's result to standard output.
///
/// If the reader has closed the pipe, as `head` does, the process exits with code 0, since
/// the rest of the output is not wanted. If writing fails for another reason, such as a full
/// disk, the error is reported and the process exits with code 1.
#[expect(
    clippy::disallowed_methods,
    reason = "a closed standard output ends the command from any call site"
)]
pub fn say(line: impl Display) {
    let mut output = io::stdout().lock();
    let Err(error) = writeln!(output, "{line}").and_then(|()| output.flush()) else { return };
    match error.kind() {
        ErrorKind::BrokenPipe => process::exit(0),
        _ => {
            note(format_args!("error: standard output: {error}"));
            process::exit(1);
        }
    }
}

/// Runs a command that waits for something to print, until it is done or nobody reads standard
/// output any longer: `grep -m 1` closes the pipe after a match, and the next line may never come.
pub async fn while_read<T, E>(printing: impl Future<Output = Result<T, E>>) -> Result<(), E> {
    tokio::select! {
        result = printing => result.map(|_| ()),
        () = until_unread(io::stdout()) => Ok(()),
    }
}

/// Completes once the other end of `output` is closed; never, if it has no other end.
async fn until_unread(output: impl AsFd + Send + 'static) {
    let (unread, is_unread) = oneshot::channel();
    thread::spawn(move || {
        // Errors and hang-ups are reported even if nothing is asked for.
        let mut files = [PollFd::new(&output, PollFlags::empty())];
        while poll(&mut files, None) == Err(Errno::INTR) {}
        // The command may be done already.
        let _ = unread.send(());
    });
    let _ = is_unread.await;
}

/// Writes a line for the user to standard error. Errors are ignored because they cannot be
/// reported.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_output_is_unread_once_its_reader_is_gone_and_not_before() {
        let (reader, writer) = io::pipe().unwrap();
        let unread = tokio::spawn(until_unread(writer.try_clone().unwrap()));
        writeln!(&writer, "line").unwrap();
        tokio::task::yield_now().await;
        assert!(!unread.is_finished());
        drop(reader);
        tokio::time::timeout(Duration::from_secs(60), unread).await.unwrap().unwrap();
    }
}
