//! Who gets a seat, and when.

use std::sync::Arc;

use api::{AccessRequest, UserInfo};
use futures::FutureExt;
use serde_json::json;

use super::levels::{Entered, Levels, Plan, Queuing};
use super::schemas::Schemas;

fn level(name: &str, shares: u64) -> Plan {
    let queuing = Some(Queuing { queues: 8, hand: 2, length: 4 });
    Plan { name: name.into(), shares, queuing, ..Plan::default() }
}

fn seated(entered: Entered) -> super::Seat {
    match entered {
        Entered::Seated(seat) => seat,
        Entered::Waiting(_) => panic!("it waits"),
        Entered::Refused => panic!("it was refused"),
    }
}

#[test]
fn seats_are_shared_by_level_and_lent_only_where_a_level_lends() {
    let levels = Levels::new(10);
    let mut lender = level("a", 1);
    lender.lendable_percent = 60;
    levels.plan(&[lender, level("b", 1)]);
    let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
    // b has five of its own and may use three of a's.
    let taken: Vec<_> = (0..8).map(|_| seated(levels.enter(&b, 1))).collect();
    assert!(matches!(levels.enter(&b, 1), Entered::Waiting(_)));
    // a gets what it kept, at once, and its own even beyond the total.
    let own: Vec<_> = (0..5).map(|_| seated(levels.enter(&a, 1))).collect();
    drop((taken, own));
    let again: Vec<_> = (0..8).map(|_| seated(levels.enter(&b, 1))).collect();
    assert_eq!(again.len(), 8);
}

#[test]
fn flows_take_turns() {
    let levels = Levels::new(1);
    levels.plan(&[level("a", 1)]);
    let a: Arc<str> = "a".into();
    let first = seated(levels.enter(&a, 0));
    let mut loud = Vec::new();
    while let Entered::Waiting(waiting) = levels.enter(&a, 7) {
        loud.push(waiting);
    }
    assert!(loud.len() >= 4, "the queues of one flow have an end: {}", loud.len());
    let other = (1000..2000).find_map(|flow| match levels.enter(&a, flow) {
        Entered::Waiting(waiting) => Some(waiting),
        _ => None,
    });
    let other = other.expect("another flow finds a queue");
    drop(first);
    // Whoever was called gives its seat on; the quiet flow need not wait for all of the loud one.
    let mut before = 0;
    let mut other = Box::pin(other);
    for waiting in loud {
        if other.as_mut().now_or_never().is_some() {
            break;
        }
        before += usize::from(waiting.now_or_never().is_some());
    }
    assert!(before <= 5, "{before} of the loud flow came first");
}

#[test]
fn who_gave_up_is_passed_over() {
    let levels = Levels::new(1);
    levels.plan(&[level("a", 1)]);
    let a: Arc<str> = "a".into();
    let first = seated(levels.enter(&a, 0));
    let gone = levels.enter(&a, 1);
    let Entered::Waiting(stays) = levels.enter(&a, 1) else { panic!("no queue") };
    drop(gone);
    drop(first);
    assert!(stays.now_or_never().is_some_and(|seat| seat.is_ok()));
}

#[test]
fn the_first_schema_by_precedence_wins() {
    let schema = |name: &str, precedence: i64, level: &str, rule: serde_json::Value| {
        json!({"metadata": {"name": name, "uid": format!("uid-{name}")},
            "spec": {"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level},
                "distinguisherMethod": {"type": "ByUser"}, "rules": [rule]}})
    };
    let everybody = json!([{"kind": "Group", "group": {"name": "system:authenticated"}}]);
    let account = json!([{"kind": "ServiceAccount", "serviceAccount": {"namespace": "ns", "name": "*"}}]);
    let resources = |resources: serde_json::Value, cluster: bool| json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": resources, "namespaces": ["*"], "clusterScope": cluster}]);
    let schemas = Schemas::read(
        &[
            schema("late", 900, "low", json!({"subjects": everybody, "resourceRules": resources(json!(["*"]), true)})),
            schema(
                "early",
                100,
                "low",
                json!({"subjects": account, "resourceRules": resources(json!(["pods"]), false)}),
            ),
            schema(
                "dangling",
                1,
                "none",
                json!({"subjects": everybody, "resourceRules": resources(json!(["*"]), true)}),
            ),
        ],
        &[json!({"metadata": {"name": "low", "uid": "u"}, "spec": {"type": "Limited", "limited": {}}})],
    );
    let ask = |user: &str, resource: &str, sub: &str, namespace: &str| {
        let mut user = UserInfo::new(user, ["system:authenticated"]);
        if user.name == "root" {
            user.groups.push(UserInfo::MASTERS.to_owned());
        }
        let access = AccessRequest {
            user,
            verb: "get".into(),
            resource: resource.into(),
            subresource: sub.into(),
            namespace: namespace.into(),
            path: if resource.is_empty() { "/metrics".into() } else { String::new() },
            ..AccessRequest::default()
        };
        schemas.find(&access).uid.to_string()
    };
    assert_eq!(ask("system:serviceaccount:ns:a", "pods", "", "x"), "uid-early");
    assert_eq!(ask("system:serviceaccount:ns:a", "pods", "log", "x"), "uid-late");
    assert_eq!(ask("system:serviceaccount:other:a", "pods", "", "x"), "uid-late");
    assert_eq!(ask("system:serviceaccount:ns:a", "nodes", "", ""), "uid-late");
    assert_eq!(ask("jane", "", "", ""), "", "a path falls to the catch-all");
    assert_eq!(ask("root", "pods", "", "x"), "", "an administrator is exempt");
}
