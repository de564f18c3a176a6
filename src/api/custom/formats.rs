//! The formats of texts that Kubernetes checks. Others are taken for any text.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Whether the text has the format.
pub(crate) fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => is_date_time(text),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "byte" => STANDARD.decode(text).is_ok(),
        "duration" => is_duration(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(format, text),
        "uri" => is_uri(text),
        "hostname" => crate::names::dns_subdomain_errors(&text.to_lowercase()).is_empty(),
        "email" => {
            text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains(' '))
        }
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        "k8s-short-name" => is_label(text),
        "k8s-long-name" => text.len() <= 253 && text.split('.').all(is_label),
        _ => true,
    }
}

/// The formats that are known; others are warned of.
pub(crate) fn is_known(format: &str) -> bool {
    const OTHERS: [&str; 24] = [
        "int32",
        "int64",
        "float",
        "double",
        "password",
        "int-or-string",
        "date-time",
        "datetime",
        "date",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "byte",
        "duration",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "uri",
        "hostname",
        "email",
        "bsonobjectid",
        "hexcolor",
    ];
    const MORE: [&str; 8] =
        ["rgbcolor", "isbn", "isbn10", "isbn13", "creditcard", "ssn", "k8s-short-name", "k8s-long-name"];
    format.is_empty() || OTHERS.contains(&format) || MORE.contains(&format)
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_date_time(text: &str) -> bool {
    let upper = text.get(10..11).is_some_and(|sign| matches!(sign, "T" | "t" | " "));
    upper && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(bits) = bits.parse::<u8>() else { return false };
    (address.parse::<Ipv4Addr>().is_ok() && bits <= 32) || (address.parse::<Ipv6Addr>().is_ok() && bits <= 128)
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts.iter().all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
}

fn is_uuid(format: &str, text: &str) -> bool {
    let digits: String = text.chars().filter(|letter| *letter != '-').collect();
    let version = format.strip_prefix("uuid").unwrap_or_default();
    digits.len() == 32
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (version.is_empty() || digits.get(12..13) == Some(version))
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return text.starts_with('/') };
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|next| next.is_ascii_alphanumeric() || "+-.".contains(next));
    (named && !rest.contains(' ')) || text.starts_with('/')
}

/// A Go duration (`1h2m`), or one in words (`2 days`).
fn is_duration(text: &str) -> bool {
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    if bare == "0" {
        return true;
    }
    let mut rest = bare;
    if rest.is_empty() {
        return false;
    }
    const UNITS: [&str; 8] = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit() && next != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        if number.parse::<f64>().is_err() {
            return false;
        }
        let after = after.trim_start();
        let Some(unit) = UNITS.iter().filter(|unit| after.starts_with(**unit)).max_by_key(|unit| unit.len()) else {
            return matches!(
                after,
                "d" | "day" | "days" | "w" | "week" | "weeks" | "hours" | "hour" | "minutes" | "seconds"
            );
        };
        rest = after.get(unit.len()..).unwrap_or_default();
    }
    true
}
