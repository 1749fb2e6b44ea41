//! Methods and their answers, without sockets and in paused time.

use serde_json::json;

use super::*;

fn device() -> DeviceId {
    "d1".parse().unwrap()
}

fn request(response: u64, connect: u64) -> MethodRequest {
    let mut request = MethodRequest::new("reboot".parse().unwrap(), json!(null));
    request.response_timeout = Duration::from_secs(response);
    request.connect_timeout = Duration::from_secs(connect);
    request
}

/// The request id of the method in a packet.
fn rid(packet: &[u8]) -> RequestId {
    let text = String::from_utf8_lossy(packet);
    let digits: String =
        text.rsplit("$rid=").next().unwrap().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn open(sessions: &Sessions, queue: mpsc::Sender<Bytes>, filters: Vec<Filter>) -> Opened {
    sessions.open(&device(), queue, filters, watch::Sender::new(None), 0)
}

fn result(status: i32) -> MethodResult {
    MethodResult { status, payload: json!("done") }
}

#[tokio::test(start_paused = true)]
async fn an_answer_reaches_its_caller() {
    let sessions = Sessions::new();
    let (queue, mut packets) = mpsc::channel(8);
    let _opened = open(&sessions, queue, vec![Filter::Methods]);
    let device = async {
        let packet = packets.recv().await.unwrap();
        sessions.answer(&super::tests::device(), &rid(&packet), Ok(result(200)));
    };

    let id = super::tests::device();
    let request = request(30, 0);
    let (answer, ()) = tokio::join!(sessions.invoke(&id, &request), device);

    assert_eq!(answer.unwrap(), result(200));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_there_or_not_subscribed_is_offline() {
    let sessions = Sessions::new();
    let error = sessions.invoke(&device(), &request(30, 0)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeviceNotOnline);

    let (queue, _packets) = mpsc::channel(8);
    let _opened = open(&sessions, queue, vec![Filter::TwinAnswers]);
    let error = sessions.invoke(&device(), &request(30, 75)).await.unwrap_err();
    assert_eq!(error.info, [("timeout".to_owned(), "00:01:15".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_device_to_subscribe() {
    let sessions = Sessions::new();
    let (queue, mut packets) = mpsc::channel(8);
    let device = async {
        let id = super::tests::device();
        tokio::time::sleep(Duration::from_secs(9)).await;
        let opened = open(&sessions, queue, Vec::new());
        sessions.subscribed(&id, opened.serial, vec![Filter::Methods]);
        let packet = packets.recv().await.unwrap();
        sessions.answer(&id, &rid(&packet), Ok(result(200)));
        opened
    };

    let id = super::tests::device();
    let request = request(30, 10);
    let (answer, _opened) = tokio::join!(sessions.invoke(&id, &request), device);

    assert_eq!(answer.unwrap(), result(200));
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_gateway_time_out_and_leaves_nothing_behind() {
    let sessions = Sessions::new();
    let (queue, mut packets) = mpsc::channel(8);
    let _opened = open(&sessions, queue, vec![Filter::Methods]);

    let error = sessions.invoke(&device(), &request(5, 0)).await.unwrap_err();

    assert_eq!(error.code, ErrorCode::GatewayTimeout);
    assert_eq!(error.info, [("timeout".to_owned(), "00:00:05".to_owned())]);
    assert!(sessions.lock()[&device()].pending.is_empty());
    // A late answer has no addressee.
    let packet = packets.recv().await.unwrap();
    sessions.answer(&device(), &rid(&packet), Ok(result(200)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_come_on_the_next_connection() {
    let sessions = Sessions::new();
    let (queue, mut packets) = mpsc::channel(8);
    let first = open(&sessions, queue, vec![Filter::Methods]);
    let device = async {
        let id = super::tests::device();
        let packet = packets.recv().await.unwrap();
        assert!(sessions.close(&id, first.serial));
        let (queue, _packets) = mpsc::channel(8);
        let second = open(&sessions, queue, Vec::new());
        sessions.answer(&id, &rid(&packet), Ok(result(201)));
        second
    };

    let id = super::tests::device();
    let request = request(30, 0);
    let (answer, _second) = tokio::join!(sessions.invoke(&id, &request), device);

    assert_eq!(answer.unwrap(), result(201));
}

#[tokio::test(start_paused = true)]
async fn a_newer_connection_ends_the_older_one() {
    let sessions = Sessions::new();
    let (queue, _packets) = mpsc::channel(8);
    let older = open(&sessions, queue.clone(), Vec::new());
    let _newer = open(&sessions, queue, Vec::new());

    assert_eq!(older.ended.await, Ok(Ending::TakenOver));
    assert!(!sessions.close(&device(), older.serial), "the newer one must stay");
    assert!(sessions.is_connected(&device()));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_comes_back_too_often_is_slowed_down() {
    let sessions = Sessions::new();
    for _ in 0..CALM_CONNECTS {
        assert_eq!(sessions.calm(&device()), Duration::ZERO);
    }
    assert_eq!(sessions.calm(&device()), BUSY_WINDOW);
    tokio::time::advance(BUSY_WINDOW).await;
    assert_eq!(sessions.calm(&device()), Duration::ZERO);
}
