//! Measured times and numbers, and their statistics.

use std::fmt;
use std::time::Duration;

/// The times of one measurement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<u32>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        // The unit is a tenth of a microsecond, so a `u32` holds seven minutes.
        self.0.push(u32::try_from(time.as_nanos() / 100).unwrap_or(u32::MAX));
    }

    pub(crate) fn extend(&mut self, other: Times) {
        self.0.extend(other.0);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns a percentile in microseconds: the time within which this share of the calls
    /// ended.
    pub(crate) fn micros(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() as f64 * share) as usize;
        let found = sorted.get(index.min(sorted.len().saturating_sub(1)));
        found.map_or(f64::NAN, |time| f64::from(*time) / 10.0)
    }
}

/// A number that is measured once in each round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl FromIterator<f64> for Rounds {
    fn from_iter<T: IntoIterator<Item = f64>>(numbers: T) -> Rounds {
        Rounds(numbers.into_iter().collect())
    }
}

impl Rounds {
    pub(crate) fn push(&mut self, number: f64) {
        self.0.push(number);
    }

    /// Converts each number.
    pub(crate) fn map(&self, to: impl Fn(f64) -> f64) -> Rounds {
        Rounds(self.0.iter().copied().map(to).collect())
    }

    /// Returns the difference between the two numbers of each round.
    pub(crate) fn minus(&self, other: &Rounds) -> Rounds {
        Rounds(self.0.iter().zip(&other.0).map(|(own, other)| own - other).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the ratio of the two numbers of each round. A slow moment affects both.
    pub(crate) fn over(&self, other: &Rounds) -> Rounds {
        Rounds(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }

    /// Returns the median with the minimum and the maximum, for display.
    pub(crate) fn spread(&self) -> Spread<'_> {
        Spread(self)
    }
}

/// A median with the minimum and the maximum.
pub(crate) struct Spread<'a>(&'a Rounds);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rounds(all) = self.0;
        let min = all.iter().copied().fold(f64::INFINITY, f64::min);
        let max = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        write!(f, "{} ({}–{})", short(self.0.median()), short(min), short(max))
    }
}

/// Formats a number with three significant digits, or with all digits before the decimal
/// point if there are more.
pub(crate) fn short(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        "–".to_owned()
    } else if number == 0.0 {
        "0".to_owned()
    } else if size >= 1000.0 {
        let whole = format!("{number:.0}");
        let from = whole.len() % 3;
        let groups: Vec<&str> = std::iter::once(&whole[..from])
            .filter(|first| !first.is_empty())
            .chain((from..whole.len()).step_by(3).map(|at| &whole[at..at + 3]))
            .collect();
        groups.join(",")
    } else if size >= 100.0 {
        format!("{number:.0}")
    } else if size >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}

/// Converts bytes to MB, the unit of the goals.
pub(crate) fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Converts bytes to MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        for (number, text) in [
            (0.0, "0"),
            (0.034, "0.03"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (999.4, "999"),
            (12_345.6, "12,346"),
        ] {
            assert_eq!(short(number), text);
        }
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let (mut own, mut other) = (Rounds::default(), Rounds::default());
        for (a, b) in [(2.0, 1.0), (30.0, 10.0), (4.0, 4.0)] {
            own.push(a);
            other.push(b);
        }
        assert_eq!(own.over(&other).spread().to_string(), "2.00 (1.00–3.00)");
    }

    #[test]
    fn a_percentile_is_the_first_time_above_the_given_share() {
        let mut times = Times::default();
        (1..=100).for_each(|micros| times.push(Duration::from_micros(micros)));
        assert_eq!((times.micros(0.5), times.micros(0.99)), (51.0, 100.0));
    }
}
