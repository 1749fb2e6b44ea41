//! Manifests that refer to an image: by the API, or by the tag that stands in for it.

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

use super::Client;
use super::document;
use super::endpoint::{Endpoint, has_same_origin};
use super::exchange::{BodyError, Call, bounded, protocol};
use super::rights::Rights;
use crate::referrers::fallback_tag;
use crate::{Descriptor, Digest, Document, Index, MAX_MANIFEST_BYTES, Reference, SourceError};

/// Maximum number of pages of a list.
const MAX_PAGES: usize = 16;

/// Lists the referrers of a manifest.
pub(super) async fn list(
    client: &Client,
    endpoint: Endpoint,
    image: &Reference,
    subject: Digest,
) -> Result<Vec<Descriptor>, SourceError> {
    match by_api(client, &endpoint, image, &subject).await? {
        Some(found) => Ok(found),
        None => by_tag(client, endpoint, image, &subject).await,
    }
}

/// Returns the list of the API; `None` if the registry does not have it.
async fn by_api(
    client: &Client,
    endpoint: &Endpoint,
    image: &Reference,
    subject: &Digest,
) -> Result<Option<Vec<Descriptor>>, SourceError> {
    let repository = image.repository();
    let mut url = endpoint.url(&format!("/v2/{repository}/referrers/{subject}"));
    let mut found = Vec::new();
    for _ in 0..MAX_PAGES {
        let mut call = Call::get(url.clone(), Rights::pull(repository), image.to_string());
        call.expected = &[400, 404, 405, 406, 410];
        let response = client.send(endpoint, &call).await?;
        if !response.status().is_success() {
            return Ok(None);
        }
        let next = next(&url, response.headers());
        let body = bounded(response, MAX_MANIFEST_BYTES).await.map_err(|error| match error {
            BodyError::Failed(error) => client.failure(&endpoint.name, &error),
            BodyError::TooLong(_) => protocol(endpoint, "sends a list of referrers without end"),
        })?;
        let Ok(index) = index(&body) else {
            // A proxy may answer each unknown path with a page for people.
            return Ok(None);
        };
        found.extend(index.manifests);
        match next {
            Some(next) if has_same_origin(&next, &url) => url = next,
            Some(_) => return Err(protocol(endpoint, "continues its list on another server")),
            None => return Ok(Some(found)),
        }
    }
    Err(protocol(endpoint, format!("has more than {MAX_PAGES} pages of referrers")))
}

async fn by_tag(
    client: &Client,
    endpoint: Endpoint,
    image: &Reference,
    subject: &Digest,
) -> Result<Vec<Descriptor>, SourceError> {
    let tag = image.with_tag(&fallback_tag(subject));
    let received = match document::fetch(client, endpoint, &tag).await {
        Ok(received) => received,
        Err(SourceError::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    match received.parse() {
        Ok(Document::Index(index)) => Ok(index.manifests),
        // Any tag may have this name.
        Ok(Document::Manifest(_)) => Ok(Vec::new()),
        Err(problem) => Err(SourceError::Manifest { subject: tag.to_string(), problem }),
    }
}

fn index(body: &[u8]) -> Result<Index, ()> {
    match Document::parse(body, None) {
        Ok(Document::Index(index)) => Ok(index),
        _ => Err(()),
    }
}

/// Returns the URL of the next page (RFC 8288).
fn next(url: &Url, headers: &HeaderMap) -> Option<Url> {
    let header = headers.get(LINK)?.to_str().ok()?;
    let (target, parameters) = header.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|part| {
        matches!(part.trim().split_once('='), Some(("rel", value)) if value.trim_matches('"') == "next")
    });
    is_next.then(|| url.join(target).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_relative_to_the_current_one() {
        let url: Url = "https://a.b/v2/c/referrers/d".parse().unwrap();
        let next = |link: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            super::next(&url, &headers).map(|url| url.to_string())
        };
        let expected = Some("https://a.b/v2/c/referrers/d?n=2".to_owned());
        assert_eq!(next("</v2/c/referrers/d?n=2>; rel=\"next\""), expected);
        assert_eq!(next("<?n=2>;rel=next"), expected);
        for malformed in ["", "<?n=2", "<?n=2>; rel=\"prev\"", "?n=2; rel=next"] {
            assert_eq!(next(malformed), None, "{malformed}");
        }
    }
}
