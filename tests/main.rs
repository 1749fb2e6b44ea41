//! Whole journeys through all parts, conformance with official clients, and the
//! rules of the house. Each test is a sentence that holds.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod conformance;
mod fuzzing;
mod journeys;
mod tidy;
