//! How long something may take, as people write it.

use std::time::Duration;

/// `500ms`, `30s`, `2m`.
pub fn period(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| hint())?;
    let seconds = |factor| number.checked_mul(factor).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        _ => None,
    }
    .ok_or_else(hint)
}

fn hint() -> String {
    "a period is a number and ms, s or m: 500ms, 30s, 2m".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_a_unit() {
        assert_eq!(period("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(period("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(period("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "30", "s", "-1s", "1.5s", "1h", "99999999999999999999s"] {
            assert_eq!(period(text), Err(hint()), "{text}");
        }
    }
}
