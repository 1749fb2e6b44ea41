//! A component before it is compiled.

pub(crate) mod encode;
pub(crate) mod imports;
pub(crate) mod metadata;
pub(crate) mod nesting;
pub(crate) mod sniff;
