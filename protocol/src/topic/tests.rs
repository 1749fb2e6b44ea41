//! Round trips of all topics, and parsing of topics recorded from clients.

use proptest::prelude::*;

use super::*;

fn device_topics() -> impl Strategy<Value = DeviceTopic> {
    let rid = || "[A-Za-z0-9-]{1,36}".prop_map(|text| text.parse::<RequestId>().unwrap());
    let bag = proptest::collection::vec(("[ -~]{1,8}", "[ -~]{0,8}"), 0..4).prop_map(|pairs| {
        pairs.into_iter().fold(MessageProperties::default(), |bag, (k, v)| bag.with(k, v))
    });
    let device = "[A-Za-z0-9.%_*?!(),=@$'-]{1,20}".prop_map(|t| t.parse::<DeviceId>().unwrap());
    let module = proptest::option::of("[a-z]{1,9}".prop_map(|t| t.parse::<ModuleId>().unwrap()));
    prop_oneof![
        (any::<i32>(), rid()).prop_map(|(status, rid)| DeviceTopic::MethodAnswer { status, rid }),
        rid().prop_map(|rid| DeviceTopic::TwinGet { rid }),
        rid().prop_map(|rid| DeviceTopic::TwinReport { rid }),
        rid().prop_map(|rid| DeviceTopic::IssueCertificate { rid }),
        (device, module, bag).prop_map(|(device, module, properties)| DeviceTopic::Telemetry {
            device,
            module,
            properties
        }),
    ]
}

fn hub_topics() -> impl Strategy<Value = HubTopic> {
    let rid = || "[A-Za-z0-9-]{1,36}".prop_map(|text| text.parse::<RequestId>().unwrap());
    let name = "[A-Za-z0-9*%#+_.!-]{1,20}".prop_map(|text| text.parse::<MethodName>().unwrap());
    prop_oneof![
        (name, rid()).prop_map(|(name, rid)| HubTopic::Method { name, rid }),
        (100..600u16, rid(), any::<Option<u64>>())
            .prop_map(|(status, rid, version)| HubTopic::TwinAnswer { status, rid, version }),
        any::<u64>().prop_map(|version| HubTopic::Desired { version }),
        (100..600u16, rid()).prop_map(|(status, rid)| HubTopic::CredentialAnswer { status, rid }),
    ]
}

proptest! {
    #[test]
    fn every_device_topic_survives_a_round_trip(topic in device_topics()) {
        prop_assert_eq!(topic.to_string().parse::<DeviceTopic>().unwrap(), topic);
    }

    #[test]
    fn every_hub_topic_survives_a_round_trip(topic in hub_topics()) {
        prop_assert_eq!(topic.to_string().parse::<HubTopic>().unwrap(), topic);
    }

    #[test]
    fn no_input_makes_the_parsers_panic(text in "(\\$iothub/|devices/)?[ -~]{0,40}") {
        let _ = text.parse::<DeviceTopic>();
        let _ = text.parse::<HubTopic>();
        let _ = text.parse::<Filter>();
    }
}

#[test]
fn a_method_topic_has_a_name_and_a_request_id() {
    let topic: HubTopic = "$iothub/methods/POST/rebootDevice/?$rid=7".parse().unwrap();
    let (name, rid) = ("rebootDevice".parse().unwrap(), "7".parse().unwrap());
    assert_eq!(topic, HubTopic::Method { name, rid });
}

#[test]
fn an_answer_has_the_request_id_first_and_the_version_after_it() {
    let rid = "1-8d92".parse::<RequestId>().unwrap();
    let answer = DeviceTopic::MethodAnswer { status: -3, rid: rid.clone() };
    assert_eq!(answer.to_string(), "$iothub/methods/res/-3/?$rid=1-8d92");
    let answer = HubTopic::TwinAnswer { status: 204, rid, version: Some(8) };
    assert_eq!(answer.to_string(), "$iothub/twin/res/204/?$rid=1-8d92&$version=8");
}

#[test]
fn telemetry_is_parsed_with_and_without_properties() {
    for topic in ["devices/d1/messages/events", "devices/d1/messages/events/"] {
        assert_eq!(
            topic.parse::<DeviceTopic>().unwrap(),
            DeviceTopic::Telemetry {
                device: "d1".parse().unwrap(),
                module: None,
                properties: MessageProperties::default()
            }
        );
    }
    let topic = "devices/n1/modules/m/messages/events/%24.on=out/";
    let DeviceTopic::Telemetry { properties, .. } = topic.parse().unwrap() else { panic!() };
    assert_eq!(properties.get("$.on"), Some("out"));
}

#[test]
fn a_malformed_topic_is_refused_and_quoted() {
    for bad in [
        "",
        "$iothub/methods/res/200/",
        "$iothub/methods/res/abc/?$rid=1",
        "$iothub/methods/res/200/x/?$rid=1",
        "$iothub/twin/GET/x/?$rid=1",
        "$iothub/twin/GET/?rid=1",
        "devices/d1/messages/eventsx",
        "devices/d 1/messages/events/",
        "other",
    ] {
        assert!(bad.parse::<DeviceTopic>().is_err(), "{bad}");
    }
    let error = "$iothub/twin/GET/?$version=1".parse::<DeviceTopic>().unwrap_err();
    assert_eq!(error.to_string(), "topic `$iothub/twin/GET/?$version=1` has no $rid");
}

#[test]
fn only_the_filters_of_iot_hub_are_accepted() {
    for good in [
        "$iothub/methods/POST/#",
        "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#",
        "devices/d1/messages/devicebound/#",
        "devices/d1/modules/m/inputs/#",
    ] {
        assert_eq!(good.parse::<Filter>().unwrap().to_string(), good);
    }
    for bad in ["#", "$iothub/#", "$iothub/methods/POST/reboot", "devices/+/messages/devicebound/#"]
    {
        assert!(bad.parse::<Filter>().is_err(), "{bad}");
    }
}
