//! The shortcut answers invocations of methods as the router does.

use std::time::Duration;

use super::*;
use crate::faults::{Effect, Fault, Step};

impl Rig {
    /// Sends a request that the shortcut must answer.
    async fn send_directly(&self, request: Request<Body>) -> Reply {
        let id = called_device(&request).expect("the request invokes a method");
        let answer = invoke_directly(Arc::new(self.rest.clone()), id, request);
        Reply::of(answer.await).await
    }
}

fn invocation(path: &str, token: Option<&str>, body: &str) -> Request<Body> {
    let request = Request::builder().method(Method::POST).uri(path);
    let request = match token {
        Some(token) => request.header(AUTHORIZATION, token),
        None => request,
    };
    request.body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_shortcut_answers_an_invocation_as_the_router_does() {
    let rig = Rig::new().with_devices(&["d1"]);
    let valid = rig.token("service", "localhost", u64::MAX);
    let expired = rig.token("service", "localhost", 1);
    let unprivileged = rig.token("registryRead", "localhost", u64::MAX);
    let offline = r#"{"methodName":"m","connectTimeoutInSeconds":0}"#;
    let large = format!(r#"{{"methodName":"m","payload":"{}"}}"#, "x".repeat(130 * 1024));
    let endless = "x".repeat(300 * 1024);
    let cases = [
        ("/twins/d1/methods?api-version=2021-04-12", Some(&valid), offline, 404),
        ("/twins/d1/methods", None, offline, 401),
        ("/twins/d1/methods", Some(&expired), offline, 401),
        ("/twins/d1/methods", Some(&unprivileged), offline, 401),
        ("/twins/d2/methods", Some(&valid), offline, 404),
        ("/twins/d1/methods", Some(&valid), "", 400),
        ("/twins/d1/methods", Some(&valid), &large, 413),
        ("/twins/d1/methods", Some(&valid), &endless, 413),
    ];
    for (path, token, body, status) in cases {
        let request = || invocation(path, token.map(String::as_str), body);
        let (routed, direct) = (rig.send(request()).await, rig.send_directly(request()).await);
        assert_eq!(direct.status, routed.status, "{path} {}", direct.text);
        assert_eq!(direct.status, status, "{path} {}", direct.text);
        let (direct_error, routed_error) = (direct.error(), routed.error());
        assert_eq!(direct_error.code, routed_error.code);
        assert_eq!(direct_error.message, routed_error.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_disturbs_an_invocation_that_bypasses_the_router() {
    let rig = Rig::new().with_devices(&["d1"]);
    rig.rest.faults.set(Fault::new(Step::Request, Effect::Throttle)).unwrap();
    rig.rest.faults.set(Fault::new(Step::Request, Effect::Delay(Duration::from_secs(9)))).unwrap();
    let token = rig.token("service", "localhost", u64::MAX);
    let request = || invocation("/twins/d1/methods", Some(&token), r#"{"methodName":"m"}"#);
    assert_eq!(rig.send_directly(request()).await.status, StatusCode::TOO_MANY_REQUESTS);
    let start = tokio::time::Instant::now();
    rig.send_directly(request()).await;
    assert!(start.elapsed() >= Duration::from_secs(9));
}

#[test]
fn the_router_answers_other_requests() {
    for (method, path) in [
        (Method::GET, "/twins/d1/methods"),
        (Method::POST, "/twins/d1/methods/more"),
        (Method::POST, "/twins/d1/modules/m1/methods"),
        (Method::POST, "/twins//methods"),
        (Method::POST, "/twins/d%311/methods"),
        (Method::POST, "/twins/d1"),
    ] {
        let request = Request::builder().method(&method).uri(path).body(Body::empty()).unwrap();
        assert_eq!(called_device(&request), None, "{method} {path}");
    }
}
