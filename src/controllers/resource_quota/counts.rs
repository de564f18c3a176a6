//! Which kinds a quota counts without looking into them. Pure.

use std::collections::BTreeMap;

use api::quota::Amounts;

/// A kind that is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Counted {
    pub group: String,
    pub plural: String,
}

/// Kinds whose objects are looked into.
const INSIDE: [&str; 3] = ["pods", "services", "persistentvolumeclaims"];
/// Kinds that need no `count/` before their name.
const PLAIN: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// The kinds that a quota counts, with the names under which it does.
pub(super) fn counted(hard: &Amounts) -> BTreeMap<Counted, Vec<String>> {
    let mut found: BTreeMap<Counted, Vec<String>> = BTreeMap::new();
    for name in hard.keys() {
        let (plural, group) = match name.strip_prefix("count/") {
            Some(counted) => counted.split_once('.').unwrap_or((counted, "")),
            None if PLAIN.contains(&name.as_str()) => (name.as_str(), ""),
            None => continue,
        };
        if !group.is_empty() || !INSIDE.contains(&plural) {
            let counted = Counted { group: group.to_owned(), plural: plural.to_owned() };
            found.entry(counted).or_default().push(name.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use api::Quantity;

    use super::*;

    #[test]
    fn names_become_kinds() {
        let names = ["count/pods", "count/deployments.apps", "secrets", "count/secrets", "requests.cpu", "count/a.b.c"];
        let hard: Amounts = names.iter().map(|name| ((*name).to_owned(), Quantity::ZERO)).collect();
        let found: Vec<String> = counted(&hard)
            .into_iter()
            .map(|(kind, names)| format!("{}/{}: {}", kind.group, kind.plural, names.join(" ")))
            .collect();
        assert_eq!(
            found,
            ["/secrets: count/secrets secrets", "apps/deployments: count/deployments.apps", "b.c/a: count/a.b.c"]
        );
    }
}
