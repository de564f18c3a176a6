//! What an expression can cost at most, from the sizes that the types of its parts allow.

use super::Budget;
use super::types::Type;

/// The largest request: nothing in it can be longer.
pub(crate) const REQUEST_BYTES: u64 = 3 << 20;

/// How long a value of this type can be.
pub(crate) fn bounded(of: &Type) -> u64 {
    of.size().min(REQUEST_BYTES)
}

fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}

/// What a call costs beside its arguments.
pub(crate) fn call(function: &str, target: Option<&Type>, args: &[Type]) -> u64 {
    let whole = target.or(args.first()).map_or(1, bounded);
    let last = args.last().map_or(1, bounded);
    match function {
        "startsWith" | "endsWith" => 1 + tenth(last),
        "contains" | "indexOf" | "lastIndexOf" => 1 + tenth(whole).saturating_mul(tenth(last).max(1)),
        "matches" | "find" | "findAll" => 1 + tenth(whole + 1).saturating_mul(last.min(1 << 12).div_ceil(4)),
        "split" | "replace" | "lowerAscii" | "upperAscii" | "trim" | "substring" | "reverse" | "string" | "bytes"
        | "url" | "isURL" | "ip" | "isIP" | "cidr" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver"
        | "validate" | "base64.encode" | "base64.decode" | "timestamp" | "duration" => 1 + tenth(whole),
        "isSorted" | "sum" | "min" | "max" | "join" | "flatten" | "sort" => 1 + whole,
        "sets.contains" | "sets.equivalent" | "sets.intersects" => 1 + whole.saturating_mul(last),
        "distinct" => 1 + whole.saturating_mul(whole) / 4,
        "format" => 1 + tenth(REQUEST_BYTES.min(whole.saturating_add(last.saturating_mul(10)))),
        "check" => 350_000,
        _ => 1,
    }
}

/// What comparing two values costs.
pub(crate) fn compare(left: &Type, right: &Type) -> u64 {
    match (left, right) {
        (Type::String(_) | Type::List(..) | Type::Map(..) | Type::Bytes, _)
        | (_, Type::String(_) | Type::List(..) | Type::Map(..) | Type::Bytes) => {
            1 + tenth(bounded(left).min(bounded(right)))
        }
        _ => 1,
    }
}

/// The result of a call with the size that follows from the arguments' sizes.
pub(crate) fn sized(function: &str, result: Type, target: Option<&Type>, args: &[Type]) -> Type {
    let whole = target.or(args.first()).map_or(1, bounded);
    match (function, result) {
        ("string", Type::String(_)) if !matches!(args.first(), Some(Type::String(_) | Type::Bytes | Type::Dyn)) => {
            Type::String(64)
        }
        ("replace", Type::String(_)) => Type::String(whole.saturating_mul(args.get(1).map_or(1, bounded).max(1))),
        ("charAt", Type::String(_)) => Type::String(1),
        ("join", Type::String(_)) => Type::String(REQUEST_BYTES),
        (_, Type::String(_)) => Type::String(whole),
        ("split" | "findAll", Type::List(of, _)) => Type::List(of, whole),
        ("lists.range", Type::List(of, _)) => Type::List(of, Budget::CALL),
        (_, Type::List(of, _)) => Type::List(of, whole),
        (_, result) => result,
    }
}
