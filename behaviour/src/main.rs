//! behaviour
fn main() {}
