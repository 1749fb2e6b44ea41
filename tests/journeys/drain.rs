//! Tests that the host stops in time. `wires` tests that it finishes its calls before.

use rig::{Rig, within};
use serde_json::json;

#[tokio::test]
async fn a_host_stops_even_under_constant_calls() {
    let mut rig = Rig::new().plugin("reply.wat", ()).start().await;
    let service = rig.service.clone();
    let calling = tokio::spawn(async move {
        let call = || async { while service.call("echo", json!(1)).await.is_ok() {} };
        tokio::join!(call(), call(), call(), call());
    });
    rig.ready().await;

    rig.stop_host().await.unwrap();

    within("the calls fail once the host has stopped", calling).await.unwrap();
}
