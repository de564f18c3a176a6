//! `resource.Quantity`: `100m`, `1.5Gi`, `2e3`.
//!
//! A quantity is held exactly, in billionths, which is the finest that Kubernetes knows; what is finer is rounded up,
//! and what is larger than 2^63-1 is held to that, as Kubernetes does.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde_json::Value;

const NANO: i128 = 1_000_000_000;
const NANOS_MAX: i128 = i64::MAX as i128 * NANO;

/// The family of suffixes that a quantity is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `m`, none, `k`, `M`, …
    #[default]
    Decimal,
    /// `Ki`, `Mi`, …
    Binary,
    /// `e3`, `e6`, …
    Exponent,
}

/// An amount of something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The shape is wrong.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number is none.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// There is no such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// What a suffix multiplies by.
enum Factor {
    /// 10 to a power
    Ten(i32),
    /// 1024 to a power
    Kibi(u32),
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// Whole units.
    pub fn from_units(units: i64, format: Format) -> Self {
        Self { nanos: i128::from(units) * NANO, format }
    }

    /// Thousandths.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * 1_000_000, format: Format::Decimal }
    }

    /// Reads what stands in an object: a string, or a plain number.
    pub fn from_json(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err(QuantityError::Format),
        }
    }

    /// Whole units, rounded up (away from zero).
    pub fn value(self) -> i64 {
        clamp(div_away(self.nanos, NANO))
    }

    /// Thousandths, rounded up (away from zero).
    pub fn milli_value(self) -> i64 {
        clamp(div_away(self.nanos, 1_000_000))
    }

    /// As a floating point number, for shares and scores.
    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is a whole number.
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn div_away(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by == 0 { quotient } else { quotient + value.signum() }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            None => return Err(QuantityError::Format),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let number_end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(number_end);
        if number.is_empty() || !suffix.bytes().all(|byte| b"eEinumkKMGTP+-0123456789".contains(&byte)) {
            return Err(QuantityError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(QuantityError::Numeric);
        }
        let (factor, format) = read_suffix(suffix)?;
        let nanos = match factor {
            Factor::Ten(power) => decimal_nanos(whole, fraction, power),
            Factor::Kibi(power) => binary_nanos(whole, fraction, power),
        };
        let nanos = nanos.min(NANOS_MAX);
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

fn read_suffix(suffix: &str) -> Result<(Factor, Format), QuantityError> {
    let decimal = |power| Ok((Factor::Ten(power), Format::Decimal));
    let binary = |power| Ok((Factor::Kibi(power), Format::Binary));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
            let power: i32 = power.parse().map_err(|_| QuantityError::Suffix)?;
            Ok((Factor::Ten(power), Format::Exponent))
        }
    }
}

/// `whole.fraction * 10^power` in billionths, rounded up; too large reads as the largest.
fn decimal_nanos(whole: &str, fraction: &str, power: i32) -> i128 {
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    // The number is `digits * 10^shift` billionths.
    let shift = i64::from(power) + 9 - fraction.len() as i64;
    let length = digits.len() as i64 + shift;
    if length > 28 {
        return NANOS_MAX;
    }
    if length <= 0 {
        return 1;
    }
    let length = length as usize;
    if shift >= 0 {
        return read(digits).saturating_mul(10i128.pow(shift as u32));
    }
    let (kept, lost) = digits.split_at(length);
    read(kept) + i128::from(lost.bytes().any(|digit| digit != b'0'))
}

fn read(digits: &str) -> i128 {
    digits.bytes().fold(0i128, |sum, digit| sum.saturating_mul(10).saturating_add(i128::from(digit - b'0')))
}

/// `whole.fraction * 1024^power` in billionths, rounded up.
fn binary_nanos(whole: &str, fraction: &str, power: u32) -> i128 {
    let factor = 1024i128.pow(power);
    let from_whole = read(whole).saturating_mul(factor).saturating_mul(NANO);
    // 18 digits behind the point are more than a billionth of the largest unit can tell apart.
    let kept = &fraction[..fraction.len().min(18)];
    let scale = 10i128.pow(kept.len() as u32);
    let above = read(kept) * factor;
    let exact = (above / scale) * NANO + div_away((above % scale) * NANO, scale);
    let lost = fraction.bytes().skip(kept.len()).any(|digit| digit != b'0');
    from_whole.saturating_add(exact).saturating_add(i128::from(lost))
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;
    /// The sum, in the format of the first that is not zero.
    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-NANOS_MAX, NANOS_MAX), format }
    }
}
impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + Self { nanos: -other.nanos, ..other }
    }
}
impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, no precision lost, the largest suffix that allows both.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return out.write_str("0");
        }
        if self.format == Format::Binary && self.is_whole() && self.nanos.abs() >= 1024 * NANO {
            let mut units = self.nanos / NANO;
            let mut suffix = 0;
            while units % 1024 == 0 && suffix < 6 {
                units /= 1024;
                suffix += 1;
            }
            return write!(out, "{units}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][suffix]);
        }
        let mut number = self.nanos;
        let mut step = 0;
        while number % 1000 == 0 && step < 9 {
            number /= 1000;
            step += 1;
        }
        if self.format != Format::Exponent {
            return write!(out, "{number}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][step]);
        }
        match step as i32 * 3 - 9 {
            0 => write!(out, "{number}"),
            power => write!(out, "{number}e{power}"),
        }
    }
}
