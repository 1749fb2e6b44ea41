//! Replacement and reconnection of sessions, in paused time.

use tokio::sync::mpsc;

use super::*;

fn device() -> Owner {
    Owner::device(&"d1".parse().unwrap())
}

fn sessions() -> Sessions {
    Sessions::new(Arc::default(), Arc::default())
}

fn open(sessions: &Sessions) -> OpenedSession {
    let outlet = Outlet::new(mpsc::channel(8).0, watch::Sender::new(None));
    sessions.open(&device(), outlet, SessionWire::Classic(Vec::new()), 0)
}

#[tokio::test(start_paused = true)]
async fn a_newer_connection_ends_the_older_one() {
    let sessions = sessions();
    let older = open(&sessions);
    let _newer = open(&sessions);

    assert_eq!(older.ended.await, Ok(Ending::TakenOver));
    assert!(!sessions.close(&device(), older.serial), "the newer session must survive");
    assert!(sessions.is_connected(&device()));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_reconnects_too_often_is_slowed_down() {
    let sessions = sessions();
    for _ in 0..MAX_CONNECTS {
        assert_eq!(sessions.connect_pause(&device()), Duration::ZERO);
    }
    assert_eq!(sessions.connect_pause(&device()), CONNECT_WINDOW);
    tokio::time::advance(CONNECT_WINDOW).await;
    assert_eq!(sessions.connect_pause(&device()), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_module_has_a_session_of_its_own_that_ends_with_its_device() {
    let sessions = sessions();
    let of_device = open(&sessions);
    let module = Owner { module: Some("m1".parse().unwrap()), ..device() };
    let outlet = Outlet::new(mpsc::channel(8).0, watch::Sender::new(None));
    let of_module = sessions.open(&module, outlet, SessionWire::Classic(Vec::new()), 0);
    assert!(sessions.is_connected(&device()));
    assert!(sessions.is_connected(&module));
    sessions.end_device(&module.device, Ending::Revoked);
    assert_eq!(of_device.ended.await, Ok(Ending::Revoked));
    assert_eq!(of_module.ended.await, Ok(Ending::Revoked));
}
