//! How long pods stay.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_pod_stays_as_long_as_all_that_it_tolerates() {
    let node: Node = serde_json::from_value(json!({"spec": {"taints": [
        {"key": "gone", "effect": "NoExecute"},
        {"key": "slow", "value": "very", "effect": "NoExecute"},
        {"key": "new", "effect": "NoSchedule"},
    ]}}))
    .unwrap();
    let seconds = |seconds: u64| Stay::For(Duration::from_secs(seconds));
    let tolerating = |list: Value| {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [], "tolerations": list}})).unwrap();
        stay(&pod, &node)
    };
    for (tolerations, expected) in [
        (json!([]), seconds(0)),
        (json!([{"key": "gone", "operator": "Exists"}]), seconds(0)),
        (json!([{"operator": "Exists"}]), Stay::ForEver),
        (json!([{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}]), seconds(30)),
        (
            json!([
                {"key": "gone", "operator": "Exists", "tolerationSeconds": 300},
                {"key": "slow", "value": "very", "tolerationSeconds": 7},
            ]),
            seconds(7),
        ),
        (json!([{"key": "gone", "operator": "Exists"}, {"key": "slow", "value": "a bit"}]), seconds(0)),
        (json!([{"operator": "Exists", "tolerationSeconds": -1}]), seconds(0)),
    ] {
        assert_eq!(tolerating(tolerations.clone()), expected, "{tolerations}");
    }
}
