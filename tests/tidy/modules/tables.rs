//! The allowed arrows between the modules of each crate.

/// A package, and its modules from the lowest to the highest, each with the modules
/// that it may name.
type Table = (&'static str, &'static [(&'static str, &'static [&'static str])]);

pub(super) const TABLES: &[Table] = &[];
