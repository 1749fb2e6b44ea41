//! One-time links and sessions of the page's user.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use parking_lot::Mutex;
use protocol::connection_string::ServiceConnectionString;
use protocol::sas::{Key, sign};
use serde::Deserialize;
use tokio::time::Instant;

use super::{PREFIX, PageRefusal};
use crate::body;
use crate::state::random_bytes;

/// Maximum number of links that have not been used. A further one replaces the oldest.
const MAX_LINKS: usize = 16;

/// Maximum number of sessions. A further one replaces the one that was idle the longest.
const MAX_SESSIONS: usize = 16;

/// Time without a request after which a session ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Unused links and open sessions.
#[derive(Default)]
pub(super) struct SignIns {
    links: Mutex<VecDeque<String>>,
    /// Sessions with the times of their last requests.
    sessions: Mutex<HashMap<String, Instant>>,
}

/// The body of a request to sign in.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Credential {
    /// The secret of a one-time link.
    Link(String),
    /// The key of the policy, or a connection string that contains it.
    Key(String),
}

impl Credential {
    pub(super) async fn read(body: Body) -> Result<Credential, PageRefusal> {
        let malformed =
            PageRefusal { status: StatusCode::BAD_REQUEST, reason: "malformed request to sign in" };
        let Ok(bytes) = body::read(body).await else { return Err(malformed) };
        serde_json::from_slice(&bytes).map_err(|_| malformed)
    }
}

impl SignIns {
    /// Returns the secret of a new link. Returns `None` if the system has no random numbers.
    pub(super) fn new_link(&self) -> Option<String> {
        let link = secret()?;
        let mut links = self.links.lock();
        if links.len() == MAX_LINKS {
            links.pop_front();
        }
        links.push_back(link.clone());
        Some(link)
    }

    /// Opens a session and returns its secret. Returns `None` if the credential is wrong. A
    /// link works once.
    pub(super) fn open(&self, credential: &Credential, policy_key: Option<&Key>) -> Option<String> {
        match credential {
            Credential::Link(text) => {
                let mut links = self.links.lock();
                let used = links.iter().position(|link| link == text)?;
                links.remove(used);
            }
            Credential::Key(text) => {
                let text = text.trim();
                let key = match text.parse::<ServiceConnectionString>() {
                    Ok(connection) => connection.key,
                    Err(_) => text.parse().ok()?,
                };
                // The comparison of signatures takes constant time.
                if !sign("", None, &key, 0).verify(policy_key?) {
                    return None;
                }
            }
        }
        let session = secret()?;
        let now = Instant::now();
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, used| now.duration_since(*used) < IDLE_TIMEOUT);
        if sessions.len() == MAX_SESSIONS
            && let Some(idle) = sessions.iter().min_by_key(|(_, used)| **used)
        {
            let idle = idle.0.clone();
            sessions.remove(&idle);
        }
        sessions.insert(session.clone(), now);
        Some(session)
    }

    /// Returns `true` if the session is open, and records its use.
    pub(super) fn is_open(&self, session: &str) -> bool {
        let mut sessions = self.sessions.lock();
        let Some(used) = sessions.get_mut(session) else { return false };
        let now = Instant::now();
        if now.duration_since(*used) >= IDLE_TIMEOUT {
            sessions.remove(session);
            return false;
        }
        *used = now;
        true
    }

    /// Closes a session.
    pub(super) fn close(&self, session: &str) {
        self.sessions.lock().remove(session);
    }
}

/// Returns the answer that stores a session in the browser.
pub(super) fn with_session(cookie: &str, session: &str) -> Response {
    answer(cookie, session, "")
}

/// Returns the answer that removes the session from the browser.
pub(super) fn without_session(cookie: &str) -> Response {
    answer(cookie, "", "; Max-Age=0")
}

fn answer(cookie: &str, value: &str, more: &str) -> Response {
    let cookie =
        format!("{cookie}={value}; Path={PREFIX}; Secure; HttpOnly; SameSite=Strict{more}");
    let headers: [(HeaderName, String); 2] =
        [(SET_COOKIE, cookie), (CACHE_CONTROL, "no-store".to_owned())];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn secret() -> Option<String> {
    let bytes = random_bytes::<32>().ok()?;
    Some(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_signs_in_once_and_a_session_ends_when_idle() {
        let sign_ins = SignIns::default();
        let link = sign_ins.new_link().unwrap();
        let session = sign_ins.open(&Credential::Link(link.clone()), None).unwrap();
        assert!(sign_ins.open(&Credential::Link(link), None).is_none());
        assert!(sign_ins.open(&Credential::Link(String::new()), None).is_none());
        for _ in 0..3 {
            tokio::time::advance(IDLE_TIMEOUT - Duration::from_secs(1)).await;
            assert!(sign_ins.is_open(&session), "a used session stays open");
        }
        tokio::time::advance(IDLE_TIMEOUT).await;
        assert!(!sign_ins.is_open(&session));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_key_of_the_policy_or_its_connection_string_signs_in() {
        let key = Key::from_bytes(&[7; 32]).unwrap();
        let other = Key::from_bytes(&[8; 32]).unwrap();
        let sign_ins = SignIns::default();
        let open = |text: String| sign_ins.open(&Credential::Key(text), Some(&key)).is_some();
        let connection = |key: &Key| {
            let key = key.to_base64();
            format!("HostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey={key}")
        };
        assert!(open(format!(" {}\n", key.to_base64())));
        assert!(open(connection(&key)));
        for wrong in [other.to_base64(), connection(&other), String::new(), "!".to_owned()] {
            assert!(!open(wrong));
        }
    }

    #[test]
    fn links_and_sessions_are_bounded() {
        let sign_ins = SignIns::default();
        let links: Vec<_> = (0..=MAX_LINKS).map(|_| sign_ins.new_link().unwrap()).collect();
        let open = |link: &String| sign_ins.open(&Credential::Link(link.clone()), None);
        assert!(open(&links[0]).is_none(), "the oldest link is replaced");
        for link in &links[1..] {
            assert!(open(link).is_some());
            assert!(open(&sign_ins.new_link().unwrap()).is_some());
        }
        assert_eq!(sign_ins.sessions.lock().len(), MAX_SESSIONS);
    }
}
