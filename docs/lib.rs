//! The documentation's snippets in Rust, as doctests.
//!
//! The pages of this folder are the book that `mdbook build` makes. `cargo test`
//! compiles each block of Rust in them, whole files and fragments alike; the build
//! script completes the fragments. `pages.rs` compares the pages with the code in other
//! ways.

#[cfg(doctest)]
include!(concat!(env!("OUT_DIR"), "/snippets.rs"));
