//! Whole journeys through all parts, each a sentence that holds.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "journeys/drain.rs"]
mod drain;
#[path = "journeys/load.rs"]
mod load;
#[path = "journeys/methods.rs"]
mod methods;
#[path = "journeys/swap.rs"]
mod swap;
#[path = "journeys/trouble.rs"]
mod trouble;
#[path = "journeys/twin.rs"]
mod twin;

mod conformance;
