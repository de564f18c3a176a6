//! Lengths of time as Go's programs write them (`1h30m`, `250ms`), which is how they stand in Kubernetes' objects.

use jiff::SignedDuration;

/// Why a text is no length of time, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not built like one.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number stands alone.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A number of what nobody knows.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// What stands for the unit.
        unit: String,
        /// All of it.
        text: String,
    },
}

/// Reads numbers with units, one after the other, with a sign in front of them or without.
///
/// # Errors
/// When it is not built like that, or is longer than 292 years.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let (mut rest, mut sum) = (unsigned, 0i128);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let units = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(units);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if part.contains('.') || (whole.is_empty() && part.is_empty()) {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let unknown = || DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() };
        let nanos = nanos(unit).ok_or_else(unknown)?;
        sum += of(whole, part, nanos).filter(|more| *more <= i128::from(i64::MAX)).ok_or_else(invalid)?;
        if sum > i128::from(i64::MAX) {
            return Err(invalid());
        }
        rest = after;
    }
    let nanos = i64::try_from(sum).map_err(|_| invalid())?;
    Ok(SignedDuration::from_nanos(if text.starts_with('-') { -nanos } else { nanos }))
}

fn nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `whole.part` times a unit.
fn of(whole: &str, part: &str, unit: i128) -> Option<i128> {
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i64>().ok().map(i128::from) };
    // What is smaller than a billionth of the largest unit is less than it can say.
    let part: String = part.chars().take(15).collect();
    let below = number(&part)? * unit / 10i128.pow(u32::try_from(part.len()).ok()?);
    Some(number(whole)? * unit + below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("0", 0),
            ("90s", 90_000),
            ("1.5h30m", 7_200_000),
            ("250ms", 250),
            ("-2m", -120_000),
            (".5s", 500),
            ("1000us", 1),
        ] {
            assert_eq!(parse(text), Ok(SignedDuration::from_millis(millis)), "{text}");
        }
        for (text, why) in [
            ("", "time: invalid duration \"\""),
            ("s", "time: invalid duration \"s\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("999999999h", "time: invalid duration \"999999999h\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1h5x", "time: unknown unit \"x\" in duration \"1h5x\""),
            ("5 s", "time: unknown unit \" s\" in duration \"5 s\""),
        ] {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(why.to_owned()), "{text}");
        }
    }
}
