//! Blobs from a registry, in memory or into a file that continues where it stopped.

use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Response;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Client;
use super::endpoint::Endpoint;
use super::exchange::{BodyError, Call, bounded, protocol};
use super::rights::Rights;
use crate::partial::Partial;
use crate::source::OnProgress;
use crate::{Descriptor, Digest, Reference, SourceError};

/// Time limit of a blob, in addition to the time for its bytes at the lowest rate.
const BASE_LIMIT: Duration = Duration::from_secs(60);

/// Lowest rate of a blob, in bytes per second. A server that sends more slowly would keep a
/// connection for hours.
const MIN_RATE: u64 = 1024;

/// Fetches a blob of at most `max` bytes.
pub(super) async fn fetch(
    client: &Client,
    endpoint: Endpoint,
    image: &Reference,
    blob: &Descriptor,
    max: usize,
) -> Result<Vec<u8>, SourceError> {
    let subject = blob.digest.to_string();
    if blob.size > max as u64 {
        return Err(SourceError::TooLarge { subject, size: blob.size, max: max as u64 });
    }
    let fetching = async {
        let response = client.send(&endpoint, &call(&endpoint, image, blob)).await?;
        let size = usize::try_from(blob.size).expect("the size is at most `max`");
        let bytes = bounded(response, size).await.map_err(|error| match error {
            BodyError::Failed(error) => client.failure(&endpoint.name, &error),
            BodyError::TooLong(length) => wrong_size(blob, length as u64),
        })?;
        if bytes.len() != size {
            return Err(wrong_size(blob, bytes.len() as u64));
        }
        match Digest::of(&bytes) {
            digest if digest == blob.digest => Ok(bytes),
            digest => Err(SourceError::WrongDigest { subject, found: digest.to_string() }),
        }
    };
    let limit = limit(client, blob);
    let late = |_| SourceError::TimedOut { registry: endpoint.name.clone(), limit };
    timeout(limit, fetching).await.map_err(late)?
}

/// Downloads a blob into a file.
pub(super) async fn download(
    client: &Client,
    endpoint: Endpoint,
    image: &Reference,
    blob: &Descriptor,
    path: &Path,
    progress: OnProgress<'_>,
) -> Result<(), SourceError> {
    let max = client.shared.settings.max_blob_bytes;
    if blob.size > max {
        let subject = blob.digest.to_string();
        return Err(SourceError::TooLarge { subject, size: blob.size, max });
    }
    let mut partial = Partial::open(path, blob).await?;
    progress(partial.length());
    let limit = limit(client, blob);
    let late = |_| SourceError::TimedOut { registry: endpoint.name.clone(), limit };
    let downloading = attempts(client, &endpoint, image, blob, &mut partial, progress);
    let result = timeout(limit, downloading).await.map_err(late).flatten();
    match result {
        Ok(()) => partial.finish().await,
        Err(error) => {
            partial.flush().await?;
            Err(error)
        }
    }
}

/// Repeats requests until the file has the content of the blob.
async fn attempts(
    client: &Client,
    endpoint: &Endpoint,
    image: &Reference,
    blob: &Descriptor,
    partial: &mut Partial,
    progress: OnProgress<'_>,
) -> Result<(), SourceError> {
    // Bytes of an earlier attempt may be of another server, or damaged on the disk.
    let mut may_restart = partial.length() > 0;
    let mut number = 0;
    loop {
        let before = partial.length();
        let result = match before == blob.size {
            true => Ok(()),
            false => rest(client, endpoint, image, blob, partial, progress).await,
        };
        let result = match result {
            Ok(()) => partial.check(),
            Err(error) => Err(error),
        };
        let error = match result {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if matches!(error, SourceError::WrongDigest { .. }) {
            partial.clear().await?;
            if std::mem::take(&mut may_restart) {
                continue;
            }
            return Err(error);
        }
        if partial.length() > before {
            number = 0;
        }
        number += 1;
        if !error.is_transient() || number > client.retries(endpoint) {
            return Err(error);
        }
        match client.pause(&error, number) {
            Some(wait) => sleep(wait).await,
            None => return Err(error),
        }
        may_restart = partial.length() > 0;
    }
}

/// Requests the rest of a blob once.
async fn rest(
    client: &Client,
    endpoint: &Endpoint,
    image: &Reference,
    blob: &Descriptor,
    partial: &mut Partial,
    progress: OnProgress<'_>,
) -> Result<(), SourceError> {
    let mut call = call(endpoint, image, blob);
    call.expected = &[416];
    let start = partial.length();
    if start > 0 {
        let range = HeaderValue::try_from(format!("bytes={start}-"));
        call.headers.insert(RANGE, range.expect("a number is a valid header"));
    }
    // `attempts` repeats the request.
    let mut response = client.send_once(endpoint, &call).await?;
    match response.status().as_u16() {
        206 if start > 0 && first_byte(&response) == Some(start) => {}
        206 => return Err(protocol(endpoint, "sends another part of a blob than requested")),
        416 => {
            // The server has less content than the file.
            partial.clear().await?;
            return Err(protocol(endpoint, format!("does not have byte {start} of a blob")));
        }
        _ => partial.clear().await?,
    }
    let start = partial.length();
    if let Some(length) = response.content_length().filter(|it| start + it != blob.size) {
        return Err(wrong_size(blob, start.saturating_add(length)));
    }
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| client.failure(&endpoint.name, &error))?;
        let Some(chunk) = chunk else { break };
        let length = partial.length() + chunk.len() as u64;
        if length > blob.size {
            return Err(wrong_size(blob, length));
        }
        partial.append(&chunk).await?;
        progress(length);
        client.shared.pace.wait(chunk.len()).await;
    }
    match partial.length() {
        length if length == blob.size => Ok(()),
        // A server that ends early may send the rest next time.
        length => Err(SourceError::Unavailable {
            registry: endpoint.name.clone(),
            reason: format!("the blob ended after {length} of {} bytes", blob.size),
        }),
    }
}

fn call(endpoint: &Endpoint, image: &Reference, blob: &Descriptor) -> Call {
    let repository = image.repository();
    let url = endpoint.url(&format!("/v2/{repository}/blobs/{}", blob.digest));
    Call::get(url, Rights::pull(repository), blob.digest.to_string())
}

/// Returns the first byte of the part that a response contains.
fn first_byte(response: &Response) -> Option<u64> {
    let header = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    header.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

fn wrong_size(blob: &Descriptor, found: u64) -> SourceError {
    SourceError::WrongSize { subject: blob.digest.to_string(), expected: blob.size, found }
}

fn limit(client: &Client, blob: &Descriptor) -> Duration {
    let rate = match client.shared.settings.bandwidth {
        // Several blobs may share the bandwidth.
        Some(bandwidth) => MIN_RATE.min(bandwidth / 8).max(1),
        None => MIN_RATE,
    };
    BASE_LIMIT.saturating_add(Duration::from_secs(blob.size / rate))
}

/// The rate of all blobs of a client.
pub(super) struct Pace {
    bytes_per_second: Option<u64>,
    /// The time at which the bytes so far are within the rate.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: Option<u64>) -> Pace {
        Pace { bytes_per_second: bytes_per_second.filter(|rate| *rate > 0), next: Mutex::new(None) }
    }

    /// Waits until more bytes may be read.
    async fn wait(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let now = Instant::now();
        let until = {
            let mut next = self.next.lock();
            let start = next.map_or(now, |next| next.max(now));
            let until = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *next = Some(until);
            until
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_blobs_together_keep_to_the_bandwidth() {
        let pace = Pace::new(Some(1000));
        let start = Instant::now();
        tokio::join!(pace.wait(1000), pace.wait(500), pace.wait(1500));
        assert_eq!(start.elapsed().as_secs(), 3);
        let start = Instant::now();
        Pace::new(None).wait(1 << 30).await;
        assert!(start.elapsed().is_zero());
    }
}
