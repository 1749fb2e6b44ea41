//! Journeys through all programs, conformance with official clients, fuzzing, and
//! the rules of the project. Each test is named as the sentence that it proves.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod conformance;
mod fuzzing;
mod journeys;
mod tidy;
