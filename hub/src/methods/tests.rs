//! Methods and their answers, without sockets and in paused time.

use bytes::Bytes;
use protocol::topic::Filter;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::sessions::{OpenedSession, Outlet, SessionWire};

/// Methods over live sessions, without sockets.
struct Rig {
    sessions: Arc<Sessions>,
    methods: Methods,
}

impl Rig {
    fn new() -> Rig {
        let faults = Arc::new(Faults::default());
        let sessions = Arc::new(Sessions::new(Arc::clone(&faults), Arc::default()));
        Rig { methods: Methods::new(Arc::clone(&sessions), faults), sessions }
    }

    fn open(&self, queue: mpsc::Sender<Bytes>, filters: Vec<Filter>) -> OpenedSession {
        let outlet = Outlet::new(queue, watch::Sender::new(None));
        self.sessions.open(&device_id(), outlet, SessionWire::Classic(filters), 0)
    }
}

fn device_id() -> Owner {
    Owner::device(&"d1".parse().unwrap())
}

fn request(response: u64, connect: u64) -> MethodRequest {
    let mut request = MethodRequest::new("reboot".parse().unwrap(), json!(null));
    request.response_timeout = Duration::from_secs(response);
    request.connect_timeout = Duration::from_secs(connect);
    request
}

/// Returns the request id of the method in a packet.
fn rid(packet: &[u8]) -> RequestId {
    let text = String::from_utf8_lossy(packet);
    let digits: String =
        text.rsplit("$rid=").next().unwrap().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn result(status: i32) -> MethodResult {
    MethodResult { status, payload: json!("done").into() }
}

#[tokio::test(start_paused = true)]
async fn an_answer_reaches_its_caller() {
    let rig = Rig::new();
    let (queue, mut packets) = mpsc::channel(8);
    let _opened = rig.open(queue, vec![Filter::Methods]);
    let answering = async {
        let packet = packets.recv().await.unwrap();
        rig.methods.answer(&device_id(), &rid(&packet), Ok(result(200)));
    };

    let id = device_id();
    let request = request(30, 0);
    let (answer, ()) = tokio::join!(rig.methods.invoke(&id, &request), answering);

    assert_eq!(answer.unwrap(), result(200));
}

#[tokio::test(start_paused = true)]
async fn a_device_without_a_session_or_subscription_is_offline() {
    let rig = Rig::new();
    let error = rig.methods.invoke(&device_id(), &request(30, 0)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeviceNotOnline);

    let (queue, _packets) = mpsc::channel(8);
    let _opened = rig.open(queue, vec![Filter::TwinAnswers]);
    let error = rig.methods.invoke(&device_id(), &request(30, 75)).await.unwrap_err();
    assert_eq!(error.info, [("timeout".to_owned(), "00:01:15".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_device_to_subscribe() {
    let rig = Rig::new();
    let (queue, mut packets) = mpsc::channel(8);
    let answering = async {
        let id = device_id();
        tokio::time::sleep(Duration::from_secs(9)).await;
        let opened = rig.open(queue, Vec::new());
        rig.sessions.subscribed(&id, opened.serial, vec![Filter::Methods]);
        let packet = packets.recv().await.unwrap();
        rig.methods.answer(&id, &rid(&packet), Ok(result(200)));
        opened
    };

    let id = device_id();
    let request = request(30, 10);
    let (answer, _opened) = tokio::join!(rig.methods.invoke(&id, &request), answering);

    assert_eq!(answer.unwrap(), result(200));
}

#[tokio::test(start_paused = true)]
async fn a_missing_answer_is_a_gateway_timeout_and_frees_the_call() {
    let rig = Rig::new();
    let (queue, mut packets) = mpsc::channel(8);
    let _opened = rig.open(queue, vec![Filter::Methods]);

    let error = rig.methods.invoke(&device_id(), &request(5, 0)).await.unwrap_err();

    assert_eq!(error.code, ErrorCode::GatewayTimeout);
    assert_eq!(error.info, [("timeout".to_owned(), "00:00:05".to_owned())]);
    assert!(rig.methods.pending.lock().is_empty());
    // A late answer is ignored.
    let packet = packets.recv().await.unwrap();
    rig.methods.answer(&device_id(), &rid(&packet), Ok(result(200)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_arrive_on_the_next_connection() {
    let rig = Rig::new();
    let (queue, mut packets) = mpsc::channel(8);
    let first = rig.open(queue, vec![Filter::Methods]);
    let answering = async {
        let id = device_id();
        let packet = packets.recv().await.unwrap();
        assert!(rig.sessions.close(&id, first.serial));
        let (queue, _packets) = mpsc::channel(8);
        let second = rig.open(queue, Vec::new());
        rig.methods.answer(&id, &rid(&packet), Ok(result(201)));
        second
    };

    let id = device_id();
    let request = request(30, 0);
    let (answer, _second) = tokio::join!(rig.methods.invoke(&id, &request), answering);

    assert_eq!(answer.unwrap(), result(201));
}
