//! End-to-end tests of all programs, conformance with official clients, fuzzing, and the
//! rules of the project. The name of each test is the sentence that it proves.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod conformance;
mod fuzzing;
mod journeys;
mod tidy;
