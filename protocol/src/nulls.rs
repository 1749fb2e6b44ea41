//! Fields whose value can be `null` in place of missing.

use serde::{Deserialize, Deserializer};

/// Deserializes `null` as the default value. Clients of IoT Hub write `null` for an empty field.
pub(crate) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
