//! The documentation's snippets in Rust, as doctests.
//!
//! The pages of this folder are the book that `mdbook build` makes. `cargo test`
//! compiles each block of Rust in them, whole files and fragments alike; the build
//! script says what a fragment is completed with. `pages.rs` holds the pages to the
//! code in other ways.

#[cfg(doctest)]
include!(concat!(env!("OUT_DIR"), "/snippets.rs"));
