//! The types of expressions, as far as they are known before anything is evaluated.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type. Numbers beside lists, maps and texts say how long they can get; they do not matter for equality.
#[derive(Clone, Debug)]
pub enum Type {
    /// Anything; found out when evaluated.
    Dyn,
    /// `null`
    Null,
    /// `true`, `false`
    Bool,
    /// 64 bits.
    Int,
    /// 64 bits without a sign.
    Uint,
    /// A number with a fraction.
    Double,
    /// Text of at most so many characters.
    String(u64),
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// A type.
    Type,
    /// Entries and how many of them at most.
    List(Arc<Type>, u64),
    /// Keys, values, and how many of them at most.
    Map(Arc<Type>, Arc<Type>, u64),
    /// An object whose fields are declared.
    Object(Arc<ObjectType>),
    /// A value that may be absent.
    Optional(Arc<Type>),
    /// One of the libraries' own: `kubernetes.Quantity`.
    Opaque(&'static str),
}

/// An object whose fields are declared.
#[derive(Debug, Default)]
pub struct ObjectType {
    /// What messages call it.
    pub name: String,
    /// By their names in JSON.
    pub fields: BTreeMap<String, Type>,
}

impl Type {
    /// A text of any length.
    pub fn text() -> Self {
        Self::String(u64::MAX)
    }

    /// Whether a value of one may stand where the other is wanted.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            // Whatever can be absent can be compared with null.
            (Self::Null, Self::Object(_) | Self::Optional(_) | Self::Timestamp | Self::Duration | Self::Opaque(_))
            | (Self::Object(_) | Self::Optional(_) | Self::Timestamp | Self::Duration | Self::Opaque(_), Self::Null) => {
                true
            }
            (Self::List(a, _), Self::List(b, _)) | (Self::Optional(a), Self::Optional(b)) => a.fits(b),
            (Self::Map(a, b, _), Self::Map(c, d, _)) => a.fits(c) && b.fits(d),
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b) || a.name == b.name,
            (Self::Map(..), Self::Object(_)) | (Self::Object(_), Self::Map(..)) => true,
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// What stands for both.
    pub(crate) fn join(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::String(a), Self::String(b)) => Self::String(*a.max(b)),
            (Self::List(a, m), Self::List(b, n)) => Self::List(Arc::new(a.join(b)), *m.max(n)),
            (Self::Null, kept) | (kept, Self::Null) if kept.fits(&Self::Null) => kept.clone(),
            (a, b) if a.fits(b) && !matches!(a, Self::Dyn) && !matches!(b, Self::Dyn) => a.clone(),
            _ => Self::Dyn,
        }
    }

    /// How many entries or characters a value has at most.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::String(max) | Self::List(_, max) | Self::Map(_, _, max) => *max,
            Self::Dyn | Self::Bytes => u64::MAX,
            Self::Optional(of) => of.size(),
            _ => 1,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => out.write_str("dyn"),
            Self::Null => out.write_str("null"),
            Self::Bool => out.write_str("bool"),
            Self::Int => out.write_str("int"),
            Self::Uint => out.write_str("uint"),
            Self::Double => out.write_str("double"),
            Self::String(_) => out.write_str("string"),
            Self::Bytes => out.write_str("bytes"),
            Self::Timestamp => out.write_str("timestamp"),
            Self::Duration => out.write_str("duration"),
            Self::Type => out.write_str("type"),
            Self::List(of, _) => write!(out, "list({of})"),
            Self::Map(key, value, _) => write!(out, "map({key}, {value})"),
            Self::Object(object) => out.write_str(&object.name),
            Self::Optional(of) => write!(out, "optional_type({of})"),
            Self::Opaque(name) => out.write_str(name),
        }
    }
}
