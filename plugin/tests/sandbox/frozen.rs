//! Plugins for released versions of the contract, which must always load.

use crate::rig::{Host, engine};
use behaviour_plugin::{Capability, Exports, PluginSettings};

#[tokio::test]
async fn a_component_for_each_released_contract_loads_and_answers() {
    let frozen: [(&[u8], bool); 3] = [
        (include_bytes!("../frozen/0.1.0.wat"), false),
        (include_bytes!("../frozen/0.1.1.wat"), false),
        (include_bytes!("../frozen/0.1.2.wat"), true),
    ];
    for (bytes, has_messages_and_metrics) in frozen {
        let settings =
            PluginSettings { capabilities: [Capability::Http].into(), ..PluginSettings::default() };
        let plugin = engine().load("frozen", bytes, settings).unwrap();
        let exports = Exports {
            deferred: true,
            desired: true,
            lifecycle: true,
            messages: has_messages_and_metrics,
        };
        assert_eq!(plugin.exports(), exports);
        let host = Host::default();

        let answer = host.call(&plugin, "any", r#"{"a":[1]}"#).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.payload.unwrap().get(), r#"{"a":[1]}"#);
        assert_eq!(host.patches(), [serde_json::json!({})]);

        assert_eq!(plugin.start(host.a_call("start", "null"), Some("1")).await.unwrap(), Ok(()));
        assert_eq!(plugin.run_job(host.a_call("job", "1")).await.unwrap(), Ok(()));
        let patch = host.a_call("desired", r#"{"a":1}"#);
        assert_eq!(plugin.desired_changed(patch, 2).await.unwrap(), Ok(()));
        if has_messages_and_metrics {
            let message = host.a_call("message", "null");
            assert_eq!(plugin.receive_message(message, b"x", &[]).await.unwrap(), Ok(()));
        }
        let expected_series = if has_messages_and_metrics { 3 } else { 0 };
        assert_eq!(host.metrics().0.len(), expected_series, "{:?}", host.metrics());
        plugin.stop(host.a_call("stop", "null")).await.unwrap();
    }
}
