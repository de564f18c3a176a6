//! Sets of completion indexes, written as Kubernetes does: `0-3,5`.

use std::collections::BTreeSet;

pub(super) type Indexes = BTreeSet<u32>;

/// Reads ranges. What cannot be read is left out; so is what lies at or past `completions`.
pub(super) fn parse(text: &str, completions: u32) -> Indexes {
    let mut indexes = Indexes::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            indexes.extend((first..=last).take_while(|index| *index < completions));
        }
    }
    indexes
}

/// Writes ranges; two neighbours are a list, three and more a range.
pub(super) fn format(indexes: &Indexes) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = indexes.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while rest.next_if(|next| *next == last + 1).is_some() {
            last += 1;
        }
        match last - first {
            0 => parts.push(first.to_string()),
            1 => parts.push(format!("{first},{last}")),
            _ => parts.push(format!("{first}-{last}")),
        }
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_read_as_they_are_written() {
        assert_eq!(format(&[0, 1, 2, 4, 6, 7].into()), "0-2,4,6,7");
        assert_eq!(parse("0-2,4,6-7", 7), [0, 1, 2, 4, 6].into());
        assert_eq!(parse("x,3-,9-4294967295", 11), [9, 10].into());
    }

    proptest! {
        #[test]
        fn every_set_comes_back(indexes in proptest::collection::btree_set(0..200u32, 0..80)) {
            prop_assert_eq!(parse(&format(&indexes), 200), indexes);
        }
    }
}
