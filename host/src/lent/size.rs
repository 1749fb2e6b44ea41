//! Memory that queued entries occupy, as an upper estimate.
//!
//! The text of an entry does not bound its memory: an object with one key has 7 bytes of text,
//! and occupies a whole node of a tree.

use protocol::topic::DeviceTopic;
use serde_json::{Map, Value};

/// Memory of an entry besides its texts: its place in the queue, and its headers on the heap.
pub(crate) const ENTRY_BYTES: usize = 512;

/// Memory of a string besides its text: its header, and the rounding of the allocator.
const STRING_BYTES: usize = 48;

/// Memory of one node of a map, which has room for eleven entries, and is at least half full
/// unless it is the only one.
const NODE_BYTES: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 112;
const MIN_NODE_ENTRIES: usize = 5;

/// Returns the memory of the values of a map.
pub(crate) fn of_map(map: &Map<String, Value>) -> usize {
    let nodes = map.len().div_ceil(MIN_NODE_ENTRIES);
    let entries = map.iter().map(|(key, value)| key.len() + of_heap(value));
    nodes * NODE_BYTES + entries.sum::<usize>()
}

/// Returns the memory that a value occupies on the heap.
fn of_heap(value: &Value) -> usize {
    match value {
        Value::String(text) => STRING_BYTES + text.len(),
        // A vector that has grown has up to twice the capacity.
        Value::Array(items) => {
            2 * items.len() * size_of::<Value>() + items.iter().map(of_heap).sum::<usize>()
        }
        Value::Object(map) => of_map(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Returns the memory of a topic.
pub(crate) fn of_topic(topic: &DeviceTopic) -> usize {
    match topic {
        DeviceTopic::Telemetry { properties, .. } => {
            let of_text = |text: &str| STRING_BYTES + text.len();
            let pairs = properties.iter();
            pairs.map(|(name, value)| 2 * of_text(name) + 2 * value.map_or(0, of_text)).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use plugin::{Engine, EngineSettings};
    use serde_json::json;

    use super::*;

    /// Returns an engine whose calls and queues share this memory.
    pub(crate) fn engine(memory_bytes: usize) -> Engine {
        let settings = EngineSettings { instances: 1, memory_bytes, ..EngineSettings::default() };
        Engine::new(&settings).unwrap()
    }

    fn of(value: Value) -> usize {
        of_map(value.as_object().unwrap())
    }

    #[test]
    fn small_objects_occupy_much_more_than_their_text() {
        let many = vec![json!({ "": 0 }); 1000];
        assert!(of(json!({ "a": many })) > 1000 * 600);
        let nulls = vec![Value::Null; 1000];
        assert!(of(json!({ "a": nulls })) >= 1000 * size_of::<Value>());
        assert!(of(json!({ "a": "b".repeat(1000) })) < 3000);
        assert_eq!(of(json!({})), 0);
    }

    #[test]
    fn each_property_of_a_message_counts() {
        let topic = |text: &str| text.parse::<DeviceTopic>().unwrap();
        assert_eq!(of_topic(&topic("devices/d1/messages/events/")), 0);
        let many = "a=b&".repeat(999) + "a=b";
        let bytes = of_topic(&topic(&format!("devices/d1/messages/events/{many}")));
        assert!(bytes >= 1000 * 2 * (2 * STRING_BYTES + 2));
    }
}
