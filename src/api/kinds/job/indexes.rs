//! Indexes of an indexed Job as text: `1,3-5,7`.

use serde_json::{Value, json};

use crate::kinds::checks::Faults;
use crate::kinds::fields::{int, text};
use crate::names::dns_label_errors;
use crate::{FieldError, meta};

/// How many indexes a text names, all below `completions`.
pub(super) fn total(indexes: &str, completions: i64) -> Result<i64, String> {
    let mut count = 0;
    let mut last: Option<i64> = None;
    for part in indexes.split(',').filter(|_| !indexes.is_empty()) {
        let (first, end) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        count += end - first + 1;
        last = Some(end);
    }
    Ok(count)
}

fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let mut limits = part.split('-');
    let (first, second) = (limits.next().unwrap_or_default(), limits.next());
    if limits.next().is_some() {
        return Err(format!(
            "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let first = index(first, completions)?;
    let Some(second) = second else { return Ok((first, first)) };
    let second = index(second, completions)?;
    if first >= second {
        return Err(format!("non-increasing order, previous: {first}, current: {second}"));
    }
    Ok((first, second))
}

fn index(text: &str, completions: i64) -> Result<i64, String> {
    let number: i64 = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
    if number >= completions { Err(format!("too large index: {text:?}")) } else { Ok(number) }
}

/// The first index that both texts name.
pub(super) fn overlap(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let read = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
    };
    let (completed, failed) = (read(completed), read(failed));
    let (mut at, mut other) = (0, 0);
    while let (Some((low, high)), Some((from, to))) = (completed.get(at), failed.get(other)) {
        if low <= to && from <= high {
            return Some(*low.max(from));
        }
        if low <= from { at += 1 } else { other += 1 }
    }
    None
}

/// The pod of the last index has to have a name that a host can have.
pub(super) fn host_name_faults(faults: &mut Faults, object: &Value, spec: &Value) {
    let Some(count) = int(spec, "completions").filter(|count| *count > 0) else { return };
    let name = meta::name(object);
    let longest = format!("{name}-{}", count - 1);
    if text(spec, "completionMode") == "Indexed" && !dns_label_errors(&longest).is_empty() {
        let detail = format!("will not able to create pod with invalid DNS label: {longest}");
        faults.push(FieldError::invalid("metadata.name", &json!(name), &detail));
    }
}
