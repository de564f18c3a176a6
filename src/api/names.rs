//! The rules for names, in Kubernetes' words.
//!
//! Each function answers why a text may not be used: one sentence a broken rule, nothing when all are kept. The
//! sentences carry the regular expressions that Kubernetes prints, because tools and people look for them.

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// A rule for names: the sentences that a text breaks.
pub type Rule = fn(&str) -> Vec<String>;

/// The sentence of a text that is longer than allowed.
pub fn max_length(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

/// The sentence of a number out of range.
pub fn inclusive_range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// A rule with examples and its regular expression, as Kubernetes puts them into one sentence.
pub fn regex_sentence(rule: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{rule} (regex used for validation is '{regex}')");
    }
    let shown: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{regex}')", shown.join(" or "))
}

fn is_lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if is_lower_alnum(*first) && is_lower_alnum(*last))
        && bytes.iter().all(|byte| is_lower_alnum(*byte) || *byte == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Why `name` is no DNS-1123 subdomain.
pub fn dns_subdomain_errors(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > 253 {
        errors.push(max_length(253));
    }
    if !is_subdomain(name) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                    and must start and end with an alphanumeric character";
        errors.push(regex_sentence(rule, SUBDOMAIN, &["example.com"]));
    }
    errors
}

/// Why `name` is no subdomain that starts with `*.`.
pub fn wildcard_subdomain_errors(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > 253 {
        errors.push(max_length(253));
    }
    if !name.strip_prefix("*.").is_some_and(is_subdomain) {
        let rule = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                    consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        errors.push(regex_sentence(rule, &format!(r"\*\.{SUBDOMAIN}"), &["*.example.com"]));
    }
    errors
}

/// Why `name` is no DNS-1123 label.
pub fn dns_label_errors(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > 63 {
        errors.push(max_length(63));
    }
    if !is_label(name) {
        if is_subdomain(name) {
            errors.push("must not contain dots".to_owned());
        } else {
            let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                        start and end with an alphanumeric character";
            errors.push(regex_sentence(rule, LABEL, &["my-name", "123-abc"]));
        }
    }
    errors
}

/// Why `name` is no DNS-1035 label (a DNS-1123 label that starts with a letter).
pub fn dns1035_label_errors(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > 63 {
        errors.push(max_length(63));
    }
    if !is_label(name) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        let rule = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                    alphabetic character, and end with an alphanumeric character";
        errors.push(regex_sentence(rule, LABEL_1035, &["my-name", "abc-123"]));
    }
    errors
}

/// Why `name` cannot be one segment of a URL's path.
pub fn path_segment_errors(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    let forbidden = ["/", "%"].into_iter().filter(|part| name.contains(part));
    forbidden.map(|part| format!("may not contain '{part}'")).collect()
}

/// Why `name` is no qualified name (a label's key, a finalizer): `[prefix/]name`.
pub fn qualified_name_errors(name: &str) -> Vec<String> {
    let rule = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let sentence = || regex_sentence(rule, QUALIFIED, &["MyName", "my.name", "123-abc"]);
    let mut errors = Vec::new();
    let parts: Vec<&str> = name.split('/').collect();
    let last = match parts.as_slice() {
        [last] => *last,
        [prefix, last] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(dns_subdomain_errors(prefix).into_iter().map(|error| format!("prefix part {error}")));
            }
            *last
        }
        _ => {
            let suffix = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {} {suffix}", sentence())];
        }
    };
    if last.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if last.len() > 63 {
        errors.push(format!("name part {}", max_length(63)));
    }
    if !is_qualified_part(last) {
        errors.push(format!("name part {}", sentence()));
    }
    errors
}

/// Why `value` is no label's value.
pub fn label_value_errors(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 63 {
        errors.push(max_length(63));
    }
    if !value.is_empty() && !is_qualified_part(value) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                    must start and end with an alphanumeric character";
        errors.push(regex_sentence(rule, &format!("({QUALIFIED})?"), &["MyValue", "my_value", "12345"]));
    }
    errors
}

/// Why `name` is no port's name.
pub fn port_name_errors(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > 15 {
        errors.push(max_length(15));
    }
    if name.is_empty() || !name.bytes().all(|byte| is_lower_alnum(byte) || byte == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// Why `port` is no port number.
pub fn port_number_errors(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![inclusive_range(1, 65535)] }
}

/// Why `name` is no environment variable's name.
pub fn env_name_errors(name: &str) -> Vec<String> {
    let printable = |letter: char| matches!(letter, ' '..='~') && letter != '=';
    if name.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if name.chars().all(printable) {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// Why `key` cannot be a file's name in a ConfigMap or a Secret.
pub fn config_key_errors(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if key.len() > 253 {
        errors.push(max_length(253));
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        errors.push(regex_sentence(rule, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    if key == "." || key == ".." {
        errors.push(format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        errors.push("must not start with '..'".to_owned());
    }
    errors
}

/// Why `name` is no HTTP header's name.
pub fn http_header_errors(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    let rule = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![regex_sentence(rule, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// Why `text` is no percentage.
pub fn percent_errors(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let rule = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![regex_sentence(rule, "[0-9]+%", &["1%", "93%"])]
}

/// Why `text` is no IP address.
pub fn ip_errors(text: &str) -> Vec<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// Why traffic cannot be sent to an address: it means no place, this machine, or this link.
pub fn special_ip_errors(text: &str) -> Vec<String> {
    use std::net::IpAddr;
    let Ok(address) = text.parse::<IpAddr>() else { return ip_errors(text) };
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    let rules = [
        (address.is_unspecified(), format!("may not be unspecified ({text})")),
        (address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (link_local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, rule)| rule).collect()
}

/// Why `text` is no range of addresses.
pub fn cidr_errors(text: &str) -> Vec<String> {
    let parsed = text.split_once('/').and_then(|(address, bits)| {
        let most = match address.parse::<std::net::IpAddr>().ok()? {
            std::net::IpAddr::V4(_) => 32,
            std::net::IpAddr::V6(_) => 128,
        };
        bits.parse::<u8>().ok().filter(|bits| *bits <= most)
    });
    match parsed {
        Some(_) => Vec::new(),
        None => vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subdomain_is_told_apart_from_what_is_none() {
        for good in ["a", "a-b", "a.b", "1.2.3", "kube-root-ca.crt"] {
            assert!(dns_subdomain_errors(good).is_empty(), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", ".a", "a.", "a..b", "a.-b", "ä"] {
            assert_eq!(dns_subdomain_errors(bad).len(), 1, "{bad}");
        }
        assert_eq!(dns_subdomain_errors(&"a".repeat(254)), ["must be no more than 253 bytes"]);
        assert_eq!(
            dns_subdomain_errors("A"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
              start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
    }

    #[test]
    fn a_label_with_dots_is_told_so() {
        assert_eq!(dns_label_errors("a.b"), ["must not contain dots"]);
        assert_eq!(
            dns_label_errors("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
              end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert!(!dns1035_label_errors("1a").is_empty());
        assert!(dns1035_label_errors("a1").is_empty());
    }

    #[test]
    fn qualified_names_have_an_optional_prefix() {
        for good in ["a", "A_b.c", "example.com/A", "kubernetes.io/os"] {
            assert!(qualified_name_errors(good).is_empty(), "{good}");
        }
        assert_eq!(qualified_name_errors("/a"), ["prefix part must be non-empty"]);
        assert_eq!(qualified_name_errors("a/").len(), 2);
        assert!(qualified_name_errors("a/b/c")[0].starts_with("a valid label key must consist of"));
        assert_eq!(qualified_name_errors(&"a".repeat(64)), ["name part must be no more than 63 bytes"]);
        assert!(label_value_errors("").is_empty());
        assert!(!label_value_errors("a b").is_empty());
    }

    #[test]
    fn ports_keys_and_the_rest() {
        assert!(port_name_errors("http-2").is_empty());
        assert_eq!(port_name_errors("80"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_name_errors("a--b"), ["must not contain consecutive hyphens"]);
        assert_eq!(port_number_errors(0), ["must be between 1 and 65535, inclusive"]);
        assert!(env_name_errors("A.b-C").is_empty());
        assert!(!env_name_errors("A=b").is_empty());
        assert!(config_key_errors("a.txt").is_empty());
        assert_eq!(config_key_errors(".."), ["must not be '..'"]);
        assert_eq!(path_segment_errors("a/b"), ["may not contain '/'"]);
        assert!(percent_errors("25%").is_empty());
        assert!(!percent_errors("%").is_empty());
        assert!(wildcard_subdomain_errors("*.a.b").is_empty());
        assert!(!wildcard_subdomain_errors("*a.b").is_empty());
    }
}
