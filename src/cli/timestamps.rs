//! Durations as people write them on a command line.

use anyhow::bail;

/// `90`, `90s`, `1m30s`, `2h` in seconds.
pub fn seconds(text: &str) -> anyhow::Result<i64> {
    let mut total = 0i64;
    let mut digits = String::new();
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => bail!("{text:?} is no duration; write for example 90s, 5m or 1h30m"),
        };
        let Ok(count) = digits.parse::<i64>() else { bail!("{text:?} is no duration; write for example 90s or 5m") };
        total = total.saturating_add(count.saturating_mul(unit));
        digits.clear();
    }
    if digits.is_empty() && !text.is_empty() {
        return Ok(total);
    }
    match digits.parse::<i64>() {
        Ok(count) => Ok(total.saturating_add(count)),
        Err(_) => bail!("{text:?} is no duration; write for example 90s or 5m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_kubectl() {
        for (text, wanted) in [("90", 90), ("90s", 90), ("1m30s", 90), ("2h", 7200)] {
            assert_eq!(seconds(text).unwrap(), wanted, "{text}");
        }
        for text in ["", "x", "5x", "m"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
