//! A behaviour is swapped: another file, the same host.

use rig::{Rig, set};
use serde_json::json;

#[tokio::test]
async fn a_host_that_is_started_again_runs_the_new_component() {
    let mut rig = Rig::new().plugin("reply.wat", set("methods", vec!["ask"])).start().await;
    assert_eq!(rig.service.call("ask", json!("old")).await.unwrap().payload, json!("old"));

    rig.stop_host().await.unwrap();
    rig.swap("reply", "answers.wat");
    rig.start_host().await;

    assert_eq!(rig.service.call("ask", json!("new")).await.unwrap().status, 204);
}
