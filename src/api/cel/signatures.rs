//! What functions there are, what they take and what they give.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::types::Type;

/// The type of an argument, in which letters stand for any type.
#[derive(Debug)]
pub(crate) enum Pattern {
    Any(char),
    Plain(Type),
    List(Box<Pattern>),
    Map(Box<Pattern>, Box<Pattern>),
    Optional(Box<Pattern>),
}

#[derive(Debug)]
pub(crate) struct Overload {
    pub receiver: Option<Pattern>,
    pub args: Vec<Pattern>,
    pub result: Pattern,
}

/// Receiver, name, arguments, result.
const TABLE: &str = "
size(string) int; size(bytes) int; size(list(A)) int; size(map(A,B)) int
string.size() int; bytes.size() int; list(A).size() int; map(A,B).size() int
string.startsWith(string) bool; string.endsWith(string) bool; string.contains(string) bool
string.matches(string) bool; matches(string,string) bool
string.find(string) string; string.findAll(string) list(string); string.findAll(string,int) list(string)
string.charAt(int) string; string.indexOf(string) int; string.indexOf(string,int) int
string.lastIndexOf(string) int; string.lastIndexOf(string,int) int
string.lowerAscii() string; string.upperAscii() string; string.trim() string; string.reverse() string
string.replace(string,string) string; string.replace(string,string,int) string
string.split(string) list(string); string.split(string,int) list(string)
string.substring(int) string; string.substring(int,int) string
string.format(list(A)) string; strings.quote(string) string
list(A).join() string; list(A).join(string) string
int(int) int; int(uint) int; int(double) int; int(string) int; int(timestamp) int; int(duration) int
uint(uint) uint; uint(int) uint; uint(double) uint; uint(string) uint
double(double) double; double(int) double; double(uint) double; double(string) double
bool(bool) bool; bool(string) bool; bytes(string) bytes; bytes(bytes) bytes; dyn(A) dyn; type(A) type
string(string) string; string(int) string; string(uint) string; string(double) string; string(bool) string
string(bytes) string; string(timestamp) string; string(duration) string; string(Ip) string; string(Cidr) string
duration(string) duration; duration(duration) duration; duration(int) duration
timestamp(string) timestamp; timestamp(timestamp) timestamp; timestamp(int) timestamp
timestamp.getFullYear() int; timestamp.getMonth() int; timestamp.getDayOfYear() int; timestamp.getDayOfMonth() int
timestamp.getDate() int; timestamp.getDayOfWeek() int; timestamp.getHours() int; timestamp.getMinutes() int
timestamp.getSeconds() int; timestamp.getMilliseconds() int
timestamp.getFullYear(string) int; timestamp.getMonth(string) int; timestamp.getDayOfYear(string) int
timestamp.getDayOfMonth(string) int; timestamp.getDate(string) int; timestamp.getDayOfWeek(string) int
timestamp.getHours(string) int; timestamp.getMinutes(string) int; timestamp.getSeconds(string) int
timestamp.getMilliseconds(string) int
duration.getHours() int; duration.getMinutes() int; duration.getSeconds() int; duration.getMilliseconds() int
list(A).isSorted() bool; list(A).sum() A; list(A).min() A; list(A).max() A
list(A).indexOf(A) int; list(A).lastIndexOf(A) int
list(A).slice(int,int) list(A); list(A).sort() list(A); list(A).flatten() list(dyn); list(A).flatten(int) list(dyn)
list(A).distinct() list(A); list(A).reverse() list(A); list(A).first() optional(A); list(A).last() optional(A)
lists.range(int) list(int)
sets.contains(list(A),list(A)) bool; sets.equivalent(list(A),list(A)) bool; sets.intersects(list(A),list(A)) bool
url(string) Url; isURL(string) bool; Url.getScheme() string; Url.getHost() string; Url.getHostname() string
Url.getPort() string; Url.getEscapedPath() string; Url.getQuery() map(string,list(string))
ip(string) Ip; isIP(string) bool; isIP(string,int) bool; ip.isCanonical(string) bool; Ip.family() int; Ip.isLoopback() bool
Ip.isUnspecified() bool; Ip.isLinkLocalMulticast() bool; Ip.isLinkLocalUnicast() bool; Ip.isGlobalUnicast() bool
cidr(string) Cidr; isCIDR(string) bool; Cidr.containsIP(string) bool; Cidr.containsIP(Ip) bool
Cidr.containsCIDR(string) bool; Cidr.containsCIDR(Cidr) bool; Cidr.ip() Ip; Cidr.prefixLength() int; Cidr.masked() Cidr
quantity(string) Quantity; isQuantity(string) bool; Quantity.isInteger() bool; Quantity.asInteger() int
Quantity.asApproximateFloat() double; Quantity.sign() int; Quantity.add(Quantity) Quantity; Quantity.add(int) Quantity
Quantity.sub(Quantity) Quantity; Quantity.sub(int) Quantity; Quantity.isGreaterThan(Quantity) bool
Quantity.isLessThan(Quantity) bool; Quantity.compareTo(Quantity) int
semver(string) Semver; semver(string,bool) Semver; isSemver(string) bool; isSemver(string,bool) bool; Semver.major() int
Semver.minor() int; Semver.patch() int; Semver.isGreaterThan(Semver) bool; Semver.isLessThan(Semver) bool
Semver.compareTo(Semver) int
format.named(string) optional(Format); Format.validate(string) optional(list(string))
format.dns1123Label() Format; format.dns1123Subdomain() Format; format.dns1035Label() Format
format.dns1035LabelPrefix() Format; format.dns1123LabelPrefix() Format; format.dns1123SubdomainPrefix() Format
format.qualifiedName() Format; format.labelValue() Format; format.uri() Format; format.uuid() Format
format.byte() Format; format.date() Format; format.datetime() Format
math.ceil(double) double; math.floor(double) double; math.round(double) double; math.trunc(double) double
math.abs(int) int; math.abs(uint) uint; math.abs(double) double; math.sign(A) A; math.isInf(double) bool
math.isNaN(double) bool; math.isFinite(double) bool; math.bitAnd(A,A) A; math.bitOr(A,A) A; math.bitXor(A,A) A
math.bitNot(A) A; math.bitShiftLeft(A,int) A; math.bitShiftRight(A,int) A; math.sqrt(A) double
math.greatest(A) dyn; math.greatest(A,B) dyn; math.greatest(A,B,C) dyn; math.greatest(A,B,C,D) dyn
math.least(A) dyn; math.least(A,B) dyn; math.least(A,B,C) dyn; math.least(A,B,C,D) dyn
base64.encode(bytes) string; base64.decode(string) bytes; jsonpatch.escapeKey(string) string
optional.none() optional(dyn); optional.of(A) optional(A); optional.ofNonZeroValue(A) optional(A)
optional(A).hasValue() bool; optional(A).value() A; optional(A).or(optional(A)) optional(A); optional(A).orValue(A) A
Authorizer.path(string) PathCheck; Authorizer.group(string) GroupCheck; Authorizer.serviceAccount(string,string) Authorizer
GroupCheck.resource(string) ResourceCheck; ResourceCheck.subresource(string) ResourceCheck
ResourceCheck.namespace(string) ResourceCheck; ResourceCheck.name(string) ResourceCheck
ResourceCheck.fieldSelector(string) ResourceCheck; ResourceCheck.labelSelector(string) ResourceCheck
ResourceCheck.check(string) Decision; PathCheck.check(string) Decision; Decision.allowed() bool
Decision.reason() string; Decision.errored() bool; Decision.error() string
";

static OVERLOADS: LazyLock<HashMap<String, Vec<Overload>>> = LazyLock::new(|| {
    let mut out: HashMap<String, Vec<Overload>> = HashMap::new();
    for entry in TABLE.split(['\n', ';']).map(str::trim).filter(|entry| !entry.is_empty()) {
        if let Some((name, overload)) = overload(entry) {
            out.entry(name).or_default().push(overload);
        }
    }
    out
});

/// All forms of a function, functions and methods of that name together.
pub(crate) fn overloads(function: &str) -> Option<&'static [Overload]> {
    OVERLOADS.get(function).map(Vec::as_slice)
}

fn overload(entry: &str) -> Option<(String, Overload)> {
    // The bracket of the arguments is the one that the last space's word is behind.
    let (call, result) = entry.rsplit_once(' ')?;
    let call = call.strip_suffix(')')?;
    let mut depth = 0;
    let open = call.char_indices().rev().find_map(|(at, next)| {
        match next {
            ')' => depth += 1,
            '(' if depth == 0 => return Some(at),
            '(' => depth -= 1,
            _ => {}
        }
        None
    })?;
    let (name, args) = (call.get(..open)?, call.get(open + 1..)?);
    let (receiver, name) = match name.rsplit_once('.') {
        Some((space, method)) if !is_type(space) => (None, format!("{space}.{method}")),
        Some((receiver, method)) => (Some(pattern(receiver)), method.to_owned()),
        None => (None, name.to_owned()),
    };
    let args = split(args).into_iter().map(pattern).collect();
    Some((name, Overload { receiver, args, result: pattern(result) }))
}

/// Whether what stands before a dot is a receiver and not a namespace.
fn is_type(text: &str) -> bool {
    text.contains('(')
        || text.starts_with(|first: char| first.is_ascii_uppercase())
        || matches!(text, "string" | "bytes" | "timestamp" | "duration")
}

fn split(args: &str) -> Vec<&str> {
    let (mut depth, mut from, mut out) = (0, 0, Vec::new());
    for (at, next) in args.char_indices() {
        match next {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                out.extend(args.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    out.extend(args.get(from..).filter(|last| !last.is_empty()));
    out
}

fn pattern(text: &str) -> Pattern {
    let inner = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(of) = inner("list") {
        return Pattern::List(Box::new(pattern(of)));
    }
    if let Some(of) = inner("optional") {
        return Pattern::Optional(Box::new(pattern(of)));
    }
    if let Some(of) = inner("map") {
        let parts = split(of);
        let part = |at: usize| Box::new(pattern(parts.get(at).copied().unwrap_or("dyn")));
        return Pattern::Map(part(0), part(1));
    }
    let mut chars = text.chars();
    if let (Some(letter @ 'A'..='Z'), None) = (chars.next(), chars.next()) {
        return Pattern::Any(letter);
    }
    Pattern::Plain(match text {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::text(),
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "type" => Type::Type,
        "Url" => Type::Opaque("kubernetes.URL"),
        "Ip" => Type::Opaque("net.IP"),
        "Cidr" => Type::Opaque("net.CIDR"),
        "Quantity" => Type::Opaque("kubernetes.Quantity"),
        "Semver" => Type::Opaque("kubernetes.Semver"),
        "Format" => Type::Opaque("kubernetes.NamedFormat"),
        "Authorizer" => Type::Opaque("kubernetes.authorization.Authorizer"),
        "PathCheck" => Type::Opaque("kubernetes.authorization.PathCheck"),
        "GroupCheck" => Type::Opaque("kubernetes.authorization.GroupCheck"),
        "ResourceCheck" => Type::Opaque("kubernetes.authorization.ResourceCheck"),
        "Decision" => Type::Opaque("kubernetes.authorization.Decision"),
        _ => Type::Dyn,
    })
}

impl Overload {
    /// The result, if these are arguments for it.
    pub fn apply(&self, target: Option<&Type>, args: &[Type]) -> Option<Type> {
        if self.receiver.is_some() != target.is_some() || self.args.len() != args.len() {
            return None;
        }
        let mut bound = Vec::new();
        if let (Some(receiver), Some(target)) = (&self.receiver, target)
            && !receiver.takes(target, &mut bound)
        {
            return None;
        }
        let all = self.args.iter().zip(args).all(|(pattern, arg)| pattern.takes(arg, &mut bound));
        all.then(|| self.result.filled(&bound))
    }
}

impl Pattern {
    fn takes(&self, given: &Type, bound: &mut Vec<(char, Type)>) -> bool {
        match (self, given) {
            (Self::Any(letter), _) => match bound.iter_mut().find(|(known, _)| known == letter) {
                Some((_, known)) => {
                    let fits = known.fits(given);
                    *known = known.join(given);
                    fits
                }
                None => {
                    bound.push((*letter, given.clone()));
                    true
                }
            },
            (Self::Plain(wanted), _) => wanted.fits(given) && !matches!(given, Type::Null),
            (_, Type::Dyn) => true,
            (Self::List(of), Type::List(given, _)) | (Self::Optional(of), Type::Optional(given)) => {
                of.takes(given, bound)
            }
            (Self::Map(key, value), Type::Map(given_key, given_value, _)) => {
                key.takes(given_key, bound) && value.takes(given_value, bound)
            }
            (Self::Map(..), Type::Object(_)) => true,
            _ => false,
        }
    }

    fn filled(&self, bound: &[(char, Type)]) -> Type {
        match self {
            Self::Any(letter) => {
                bound.iter().find(|(known, _)| known == letter).map_or(Type::Dyn, |(_, known)| known.clone())
            }
            Self::Plain(known) => known.clone(),
            Self::List(of) => Type::List(Arc::new(of.filled(bound)), u64::MAX),
            Self::Map(key, value) => Type::Map(Arc::new(key.filled(bound)), Arc::new(value.filled(bound)), u64::MAX),
            Self::Optional(of) => Type::Optional(Arc::new(of.filled(bound))),
        }
    }
}
