//! Aggregation.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

use super::Severity;
use super::aggregate::{Aggregates, Line};

fn line(message: &str) -> Line {
    Line {
        about: ObjectReference { name: Some("web".into()), ..ObjectReference::default() },
        severity: Severity::Warning,
        reason: "BackOff".into(),
        message: message.into(),
    }
}

#[test]
fn the_same_line_again_raises_the_count_of_one_event() {
    let (mut aggregates, now) = (Aggregates::default(), Timestamp::UNIX_EPOCH);
    let said = aggregates.say(line("waiting"), now).0;
    let (first, _) = aggregates.next_write(&said).unwrap();
    aggregates.wrote(&said, &first);
    assert!(aggregates.next_write(&said).is_none());
    assert_eq!(aggregates.say(line("waiting"), now), (said, false));
    assert_eq!(aggregates.say(line("waiting"), now), (said, true));
    let (second, _) = aggregates.next_write(&said).unwrap();
    assert_eq!((second.name, second.count, second.created), (first.name, 3, true));
}

#[test]
fn a_flood_of_similar_lines_becomes_one_event() {
    let (mut aggregates, now) = (Aggregates::default(), Timestamp::UNIX_EPOCH);
    let said: std::collections::HashSet<_> =
        (0..100).map(|index| format!("{:?}", aggregates.say(line(&format!("try {index}")), now).0)).collect();
    assert_eq!(said.len(), 11);
    let combined = aggregates.say(line("try 101"), now).0;
    let (write, _) = aggregates.next_write(&combined).unwrap();
    assert_eq!(write.message, "(combined from similar events): try 101");
}
