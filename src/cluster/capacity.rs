//! `--node-capacity`: what a node offers instead of what its host has.

use std::collections::BTreeMap;

use api::quantity::Quantity;
use thiserror::Error;

/// An entry that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("--node-capacity {entry}: {why}; write for example cpu=4,memory=8Gi,pods=110")]
pub struct CapacityError {
    entry: String,
    why: &'static str,
}

/// Reads `resource=quantity` entries.
pub(crate) fn parse(entries: &[String]) -> Result<BTreeMap<String, String>, CapacityError> {
    let mut capacity = BTreeMap::new();
    for entry in entries.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()) {
        let refused = |why| CapacityError { entry: entry.to_owned(), why };
        let (name, quantity) = entry.split_once('=').ok_or(refused("there is no ="))?;
        quantity.parse::<Quantity>().map_err(|_| refused("that is no quantity"))?;
        capacity.insert(name.trim().to_owned(), quantity.trim().to_owned());
    }
    Ok(capacity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_quantities() {
        let parse = |text: &str| parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert!(parse("cpu=4,memory=8Gi").is_ok_and(|found| found.len() == 2));
        for text in ["cpu", "cpu=much"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
