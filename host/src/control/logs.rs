//! The log of a plugin over the control socket.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::broadcast::error::RecvError;

use super::{ControlAnswer, MAX_CONNECTIONS, send};
use crate::lent::log::RecentLines;

/// Maximum number of connections that follow a log. The others remain for the operator.
const MAX_FOLLOWERS: usize = MAX_CONNECTIONS / 2;

/// Sends a line for each of the last `count` lines of a plugin and, with `follow`, for each line
/// that is added until the client closes the connection, or the plugin leaves the host.
pub(super) async fn serve(
    log: &RecentLines,
    plugin: &str,
    count: u32,
    follow: bool,
    is_configured: impl Fn() -> bool,
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    if follow && log.followers() >= MAX_FOLLOWERS {
        let busy = format!("{MAX_FOLLOWERS} commands follow logs already; end one of them");
        return send(write, &ControlAnswer::Error(busy)).await;
    }
    let (lines, mut added) = log.follow(plugin, count as usize);
    let left = || ControlAnswer::UnknownPlugin(plugin.to_owned());
    // Checked after the subscription, which is closed if the plugin leaves from here on.
    if !is_configured() {
        return send(write, &left()).await;
    }
    for line in lines {
        send(write, &ControlAnswer::LogLine(Box::new((*line).clone()))).await?;
    }
    if !follow {
        drop(added);
        return send(write, &ControlAnswer::Done("end of the log".to_owned())).await;
    }
    loop {
        let answer = tokio::select! {
            line = added.recv() => match line {
                Ok(line) => ControlAnswer::LogLine(Box::new((*line).clone())),
                Err(RecvError::Lagged(missed)) => ControlAnswer::MissedLines(missed),
                Err(RecvError::Closed) => return send(write, &left()).await,
            },
            // The client sends nothing more, so this returns when the connection ends.
            _ = read.read_u8() => return Ok(()),
        };
        send(write, &answer).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use plugin::{Level, LogLine, LogSink as _};
    use tokio::io::{AsyncBufReadExt as _, BufReader, DuplexStream, duplex, split};

    use super::*;
    use crate::lent::log::Log;

    fn write(log: &Arc<RecentLines>, plugin: &str, message: &str) {
        let sink = Log { recent: Some(Arc::clone(log)), device: None };
        let fields = &[("door".to_owned(), "front".to_owned())];
        sink.write(&LogLine {
            plugin,
            method: "m",
            call: "c",
            level: Level::Info,
            message,
            fields,
        });
    }

    async fn message(client: &mut BufReader<DuplexStream>) -> String {
        let mut line = Vec::new();
        client.read_until(b'\n', &mut line).await.unwrap();
        match ControlAnswer::parse(&line).unwrap() {
            ControlAnswer::LogLine(line) => {
                assert_eq!(line.fields, serde_json::json!({ "door": "front" }));
                line.message
            }
            other => other.to_text(),
        }
    }

    #[tokio::test]
    async fn a_log_ends_after_the_last_lines_or_continues_with_new_ones() {
        let log = Arc::new(RecentLines::default());
        ["one", "two", "three"].iter().for_each(|text| write(&log, "fan", text));
        for follow in [false, true] {
            let (client, host) = duplex(4096);
            let of_host = Arc::clone(&log);
            let served = tokio::spawn(async move {
                let (mut read, mut write) = split(host);
                serve(&of_host, "fan", 2, follow, || true, &mut read, &mut write).await
            });
            let mut client = BufReader::new(client);
            assert_eq!(message(&mut client).await, "two");
            assert_eq!(message(&mut client).await, "three");
            if follow {
                write(&log, "door", "of another plugin");
                write(&log, "fan", "four");
                assert_eq!(message(&mut client).await, "four");
            } else {
                assert_eq!(message(&mut client).await, "end of the log");
            }
            drop(client);
            served.await.unwrap().unwrap();
        }
        assert_eq!(log.followers(), 0);
    }

    #[tokio::test]
    async fn a_follower_is_notified_when_its_plugin_leaves() {
        let log = Arc::new(RecentLines::default());
        write(&log, "fan", "one");
        let (client, host) = duplex(4096);
        let of_host = Arc::clone(&log);
        let served = tokio::spawn(async move {
            let (mut read, mut write) = split(host);
            serve(&of_host, "fan", 1, true, || true, &mut read, &mut write).await
        });
        let mut client = BufReader::new(client);
        assert_eq!(message(&mut client).await, "one");
        let sink = Log { recent: Some(log), device: None };
        sink.retain(&|plugin| plugin != "fan");
        assert_eq!(message(&mut client).await, "the host has no plugin `fan`");
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_plugin_that_left_before_its_log_was_followed_is_unknown() {
        let (client, host) = duplex(4096);
        let (mut read, mut write) = split(host);
        let log = RecentLines::default();
        serve(&log, "fan", 1, true, || false, &mut read, &mut write).await.unwrap();
        let answer = message(&mut BufReader::new(client)).await;
        assert_eq!(answer, "the host has no plugin `fan`");
    }

    #[tokio::test]
    async fn a_follower_more_than_the_limit_is_refused() {
        let log = Arc::new(RecentLines::default());
        let _followers: Vec<_> = (0..MAX_FOLLOWERS).map(|_| log.follow("fan", 0)).collect();
        let (client, host) = duplex(4096);
        let (mut read, mut write) = split(host);
        serve(&log, "fan", 0, true, || true, &mut read, &mut write).await.unwrap();
        let refusal = message(&mut BufReader::new(client)).await;
        assert_eq!(refusal, "4 commands follow logs already; end one of them");
    }
}
