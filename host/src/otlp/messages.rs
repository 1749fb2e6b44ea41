//! Messages of OTLP that the host sends, as structures whose encoding `prost` generates.
//!
//! The numbers of the fields are those of `opentelemetry-proto` 1.5. Fields that the host never
//! sets are left out, which protobuf allows.

use prost::{Message, Oneof};

pub(super) mod logs;
pub(super) mod metrics;
pub(super) mod traces;

/// A value of an attribute.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 6")]
    pub(super) value: Option<Value>,
}

/// The types of values.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(int64, tag = "3")]
    Whole(i64),
    #[prost(double, tag = "4")]
    Real(f64),
    #[prost(message, tag = "6")]
    Object(KeyValueList),
}

/// An object.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<KeyValue>,
}

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

impl KeyValue {
    /// Creates an attribute.
    pub(super) fn new(key: impl Into<String>, value: Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) }
    }

    /// Creates an attribute whose value is a text.
    pub(super) fn text(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
        KeyValue::new(key, Value::Text(value.into()))
    }
}

/// The sender of the data.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

impl Resource {
    /// Creates the resource of a host. `configured` attributes take precedence over its own.
    pub(super) fn new(configured: Vec<(String, String)>, device: &str) -> Resource {
        let own = [
            ("service.name", "behaviour-host"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", device),
            ("device.id", device),
        ];
        let missing = own.into_iter().filter(|(key, _)| configured.iter().all(|it| it.0 != *key));
        let missing: Vec<_> = missing.map(|(key, value)| KeyValue::text(key, value)).collect();
        let configured = configured.iter().map(|(key, value)| KeyValue::text(key, value));
        Resource { attributes: configured.chain(missing).collect() }
    }
}

/// The part of a program that has recorded the data.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InstrumentationScope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

impl InstrumentationScope {
    /// Returns the scope of all data of a host.
    pub(super) fn host() -> InstrumentationScope {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        InstrumentationScope { name: env!("CARGO_PKG_NAME").to_owned(), version }
    }
}

/// The response to each of the requests. The field is the same in all of them.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// The number of refused entries of a request, and the reason.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}
