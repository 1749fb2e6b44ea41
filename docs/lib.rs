//! Doctests of the Rust snippets in the documentation.
//!
//! The pages in this folder form the book that `mdbook build` builds. `cargo test` compiles
//! each Rust block in them. The build script completes blocks that are fragments. `pages.rs`
//! checks other parts of the pages against the code.

#[cfg(doctest)]
include!(concat!(env!("OUT_DIR"), "/snippets.rs"));
