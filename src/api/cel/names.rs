//! Names of fields that expressions cannot write are escaped in the rules of CustomResourceDefinitions.

const ESCAPES: [(&str, &str); 4] = [("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/")];

/// Words with a meaning of their own.
const KEYWORDS: [&str; 4] = ["true", "false", "null", "in"];
/// Words that are kept for later: no variable may be called so.
pub(super) const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether CEL keeps a word for itself, so that it stands for a field only between underscores.
pub(crate) fn is_reserved(word: &str) -> bool {
    KEYWORDS.contains(&word) || RESERVED.contains(&word)
}

/// `__namespace__` is `namespace`, `a__dot__b` is `a.b`.
pub(crate) fn unescape(name: &str) -> String {
    if let Some(word) = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && is_reserved(word)
    {
        return word.to_owned();
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    'next: while let Some(first) = rest.chars().next() {
        for (escaped, plain) in ESCAPES {
            if let Some(after) = rest.strip_prefix(escaped) {
                out.push_str(plain);
                rest = after;
                continue 'next;
            }
        }
        out.push(first);
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    out
}

/// How a field's name is written in a rule, or nothing if it cannot be.
pub(crate) fn escape(name: &str) -> Option<String> {
    let mut chars = name.chars();
    if !chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        || !chars.all(|next| next.is_ascii_alphanumeric() || "_.-/".contains(next))
    {
        return None;
    }
    if is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    'next: while let Some(first) = rest.chars().next() {
        for (escaped, plain) in ESCAPES {
            if let Some(after) = rest.strip_prefix(plain) {
                out.push_str(escaped);
                rest = after;
                continue 'next;
            }
        }
        out.push(first);
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    Some(out)
}
