//! Shares of devices.

use std::fmt;
use std::str::FromStr;

/// A share from 0% to 100%, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

/// A malformed share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a share such as 1%, 0.5% or 100%")]
pub struct PercentError(String);

impl Percent {
    /// All devices.
    pub const ALL: Percent = Percent(10_000);

    /// Returns the number of devices of this share, rounded up.
    #[must_use]
    pub fn of_up(self, count: u64) -> u64 {
        (count * u64::from(self.0)).div_ceil(10_000)
    }

    /// Returns the number of devices beyond this share, rounded down.
    #[must_use]
    pub fn beyond(self, count: u64) -> u64 {
        count * u64::from(10_000 - self.0) / 10_000
    }
}

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Percent, PercentError> {
        let error = || PercentError(json::readable(text).into_owned());
        let number = text.trim().trim_end_matches('%');
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| {
            let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| all)
        };
        let whole = digits(whole).filter(|whole| *whole <= 100).ok_or_else(error)?;
        let hundredths = match fraction.len() {
            1 => digits(fraction).map(|tenths| tenths * 10),
            2 => digits(fraction),
            _ => None,
        };
        let share = whole * 100 + hundredths.ok_or_else(error)?;
        if share > 10_000 { Err(error()) } else { Ok(Percent(share)) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{}%", self.0 / 100),
            rest if rest % 10 == 0 => write!(f, "{}.{}%", self.0 / 100, rest / 10),
            rest => write!(f, "{}.{rest:02}%", self.0 / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_survives_a_round_trip() {
        for text in ["0%", "1%", "0.5%", "12.05%", "99.9%", "100%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        assert_eq!("50".parse::<Percent>().unwrap().to_string(), "50%");
        for text in ["", "%", "101%", "100.01%", "-1%", "1.%", "1.234%", "a", "+1"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wave_is_rounded_up_and_the_allowed_failures_are_rounded_down() {
        let one = "1%".parse::<Percent>().unwrap();
        assert_eq!((one.of_up(10_000), one.of_up(150), one.of_up(1)), (100, 2, 1));
        let healthy = "99%".parse::<Percent>().unwrap();
        assert_eq!((healthy.beyond(1), healthy.beyond(99), healthy.beyond(250)), (0, 0, 2));
    }
}
