//! Numbers of things in messages.

use std::fmt::Display;

/// Returns a number with a noun in the singular or the plural: `1 report`, `2 reports`.
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    match number == N::from(1) {
        true => format!("{number} {noun}"),
        false => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_thing_is_in_the_singular() {
        assert_eq!([0_u64, 1, 2].map(|n| counted(n, "job")), ["0 jobs", "1 job", "2 jobs"]);
    }
}
