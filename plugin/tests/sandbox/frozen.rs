//! Plugins for released versions of the contract, which must always load.

use crate::rig::{Host, engine};
use behaviour_plugin::{Capability, Exports, PluginSettings};

#[tokio::test]
async fn a_component_for_each_released_contract_loads_and_answers() {
    for bytes in [&include_bytes!("../frozen/0.1.0.wat")[..], include_bytes!("../frozen/0.1.1.wat")]
    {
        let settings =
            PluginSettings { capabilities: [Capability::Http].into(), ..PluginSettings::default() };
        let plugin = engine().load("frozen", bytes, settings).unwrap();
        assert_eq!(
            plugin.exports(),
            Exports { deferred: true, desired: true, lifecycle: true, ..Exports::default() }
        );
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
}
