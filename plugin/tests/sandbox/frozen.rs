//! Plugins for released versions of the contract, which must always load.

use crate::rig::{Host, engine};
use behaviour_plugin::{Exports, PluginSettings};

#[tokio::test]
async fn a_component_for_contract_0_1_0_loads_and_answers() {
    let bytes = include_bytes!("../frozen/0.1.0.wat");
    let plugin = engine().load("frozen", bytes, PluginSettings::default()).unwrap();
    assert_eq!(plugin.exports(), Exports { deferred: true, desired: true, lifecycle: true });
    let host = Host::default();

    let answer = host.call(&plugin, "any", r#"{"a":[1]}"#).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.payload.unwrap().get(), r#"{"a":[1]}"#);
    assert_eq!(host.patches(), [serde_json::json!({})]);

    assert_eq!(plugin.start(host.a_call("start", "null"), Some("1")).await.unwrap(), Ok(()));
    assert_eq!(plugin.run_job(host.a_call("job", "1")).await.unwrap(), Ok(()));
    let patch = host.a_call("desired", r#"{"a":1}"#);
    assert_eq!(plugin.desired_changed(patch, 2).await.unwrap(), Ok(()));
    plugin.stop(host.a_call("stop", "null")).await.unwrap();
}
