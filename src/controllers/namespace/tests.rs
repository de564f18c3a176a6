//! The conditions of a namespace that is being deleted.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::conditions::{Content, Remaining, conditions};

fn held() -> Content {
    let pods = [
        ObjectMeta { finalizers: Some(vec!["example.com/hold".into()]), ..ObjectMeta::default() },
        ObjectMeta::default(),
    ];
    let remaining = Remaining::of(pods.iter()).map(|left| Remaining { resource: "pods".into(), ..left });
    Content { remaining: remaining.into_iter().collect(), ..Content::default() }
}

#[test]
fn what_remains_and_what_holds_it_is_said() {
    let conditions = conditions(&[], &held(), Timestamp::UNIX_EPOCH);
    let messages: Vec<_> = conditions
        .iter()
        .filter(|condition| condition.status == "True")
        .filter_map(|condition| condition.message.as_deref())
        .collect();
    assert_eq!(
        messages,
        [
            "Some resources are remaining: pods has 2 resource instances",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
        ]
    );
}

#[test]
fn conditions_that_stay_keep_their_time() {
    let first = conditions(&[], &held(), Timestamp::UNIX_EPOCH);
    let later = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60);
    assert_eq!(conditions(&first, &held(), later), first);
    let after = conditions(&first, &Content::default(), later);
    assert!(after.iter().all(|condition| condition.status == "False"));
    let moved =
        after.iter().filter(|condition| condition.last_transition_time.as_ref().is_some_and(|time| time.0 == later));
    assert_eq!(moved.count(), 2);
}
