//! Whole journeys through all parts, each a sentence that holds.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod conformance;
