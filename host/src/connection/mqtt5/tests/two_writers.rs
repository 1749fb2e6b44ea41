//! Two writers of reported properties: the device, and a second connection with its identity
//! that takes over.
//!
//! The hub of this test is the rule of the profile alone: a patch applies to the current version
//! or not at all.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::*;

const ROUNDS: u64 = 1000;

/// A hub with one twin.
struct Twin {
    reported: Map<String, Value>,
    version: u64,
    /// All versions, in the order in which they were made.
    versions: Vec<u64>,
}

impl Twin {
    fn answer(&mut self, patch: &ReportedPatch) -> ReportedPatchResponse {
        if patch.if_match != self.version {
            let (outcome, version) = (PatchOutcome::VersionMismatch, self.version);
            return ReportedPatchResponse { outcome, version };
        }
        let changes: Map<String, Value> = serde_json::from_slice(&patch.payload).unwrap();
        self.reported.extend(changes);
        self.version += 1;
        self.versions.push(self.version);
        ReportedPatchResponse { outcome: PatchOutcome::Ok, version: self.version }
    }
}

/// A writer that reports the numbers from 1 to [`ROUNDS`], each once the one before is answered.
struct Writer {
    name: &'static str,
    next: u64,
    connections: u8,
    translator: Option<Translator>,
}

impl Writer {
    fn new(name: &'static str) -> Writer {
        Writer { name, next: 1, connections: 0, translator: None }
    }

    /// Connects, which ends the connection of the other writer.
    fn take_over(&mut self, other: &mut Writer, twin: &Twin) {
        other.translator = None;
        self.connections = self.connections.wrapping_add(1);
        let nonce = [self.connections; 16];
        let mut translator = connection(nonce, true, &methods(Fixed::with(1)));
        let ack = BirthAck { desired_version: 1, reported_version: twin.version };
        let ack = from_hub(MessageType::BirthAck, nonce, &ack, None);
        translator.incoming(ack).unwrap();
        self.translator = Some(translator);
    }

    /// Begins to report the next number.
    fn report(&mut self) -> Vec<Translated> {
        let topic = "$iothub/twin/PATCH/properties/reported/?$rid=7";
        let body = format!(r#"{{"{}":{}}}"#, self.name, self.next);
        let report = Publish::new(topic, rumqttc::QoS::AtMostOnce, body);
        self.translator.as_mut().unwrap().outgoing(Packet::Publish(report))
    }
}

fn patch_of(translated: &[Translated]) -> ([u8; 16], ReportedPatch) {
    let [Translated::ToHub(Packet5::Publish(publish))] = translated else {
        panic!("{translated:?}")
    };
    let id = publish.properties.as_ref().unwrap().correlation_data.as_ref().unwrap();
    (id[..].try_into().unwrap(), sent(translated))
}

/// A sequence of numbers that looks random and is the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

#[test]
fn no_report_of_two_writers_is_lost_in_a_thousand_rounds() {
    let mut twin = Twin { reported: Map::new(), version: 1, versions: vec![1] };
    let (mut writer, mut other) = (Writer::new("device"), Writer::new("second"));
    let (mut dice, mut lost, mut waits) = (Dice(1), 0, 0);
    let mut applied: BTreeMap<&str, u64> = BTreeMap::new();
    while writer.next <= ROUNDS || other.next <= ROUNDS {
        // The other writer goes on with its own connection, after a take-over.
        if other.next <= ROUNDS && (writer.next > ROUNDS || dice.roll(3) == 0) {
            std::mem::swap(&mut writer, &mut other);
        }
        if writer.translator.is_none() {
            writer.take_over(&mut other, &twin);
        }
        let mut message = writer.report();
        loop {
            let (id, patch) = patch_of(&message);
            // A change by the service's own means, such as another connection of the device.
            if dice.roll(4) == 0 {
                twin.version += 1;
                twin.versions.push(twin.version);
            }
            let response = twin.answer(&patch);
            if response.outcome == PatchOutcome::Ok {
                applied.insert(writer.name, writer.next);
            }
            // The other connection takes over before the answer arrives. The writer sends the
            // same values again.
            if dice.roll(10) == 0 {
                lost += 1;
                writer.translator = None;
                break;
            }
            let packet = from_hub(MessageType::ReportedPatchResponse, id, &response, None);
            message = writer.translator.as_mut().unwrap().incoming(packet).unwrap();
            if let [Translated::ToSession(Packet::Publish(answer))] = &message[..] {
                match answer.topic.contains("/res/204/") {
                    true => {
                        assert_eq!(twin.reported[writer.name], writer.next);
                        writer.next += 1;
                    }
                    // The twin waits and reports again.
                    false => waits += 1,
                }
                break;
            }
        }
    }
    assert_eq!(applied, [("device", ROUNDS), ("second", ROUNDS)].into());
    assert_eq!(
        (&twin.reported["device"], &twin.reported["second"]),
        (&ROUNDS.into(), &ROUNDS.into())
    );
    assert!(twin.versions.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(lost > 50 && twin.version > 2 * ROUNDS, "{lost} {waits}");
}
