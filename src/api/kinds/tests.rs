//! Every row of the table.

use std::collections::BTreeSet;

use super::*;

#[test]
fn rows_are_well_formed_and_unique() {
    let mut seen = BTreeSet::new();
    for kind in builtin() {
        assert!(seen.insert((kind.group.clone(), kind.plural.clone())), "{kind:?} is listed twice");
        assert!(!kind.columns.is_empty() && kind.verbs.len() >= 7, "{kind:?}");
        assert_eq!(kind.columns.iter().filter(|column| column.format == "name").count(), 1, "{kind:?}");
        assert_eq!(kind.behaviour.field_labels().len(), kind.behaviour.selectable_fields(&serde_json::json!({})).len());
    }
    assert_eq!(seen.len(), 16);
}
