//! Roles and their bindings.

use super::*;

#[test]
fn roles_name_what_they_allow() {
    let good = json!({"metadata": {"name": "system:a"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    check_faults(
        "rbac.authorization.k8s.io/roles",
        &good,
        &[
            ("/rules/0/verbs", json!([]), &["rules[0].verbs: Required value: verbs must contain at least one value"]),
            (
                "/rules/0",
                json!({"verbs": ["get"]}),
                &[
                    "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                    "rules[0].resources: Required value: resource rules must supply at least one resource",
                ],
            ),
            (
                "/rules/0/nonResourceURLs",
                json!(["/healthz"]),
                &[
                    "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply to non-resource URLs",
                    "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: rules cannot apply to both regular resources and non-resource URLs",
                ],
            ),
        ],
    );
    check_faults(
        "rbac.authorization.k8s.io/clusterroles",
        &json!({"metadata": {"name": "a"}, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]}),
        &[(
            "/aggregationRule",
            json!({}),
            &[
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
            ],
        )],
    );
    let role = find("rbac.authorization.k8s.io/clusterroles");
    assert!(role.behaviour.validate_name("system:controller:x Y").is_empty());
    assert_eq!(role.behaviour.validate_name("a/b"), ["may not contain '/'"]);
    assert_eq!(headings("rbac.authorization.k8s.io/roles"), "NAME CREATED AT");
}

#[test]
fn bindings_keep_their_role() {
    let kind = "rbac.authorization.k8s.io/rolebindings";
    let good = json!({"metadata": {"name": "a"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]});
    check_faults(
        kind,
        &good,
        &[
            (
                "/roleRef/kind",
                json!("Pod"),
                &["roleRef.kind: Unsupported value: \"Pod\": supported values: \"Role\", \"ClusterRole\""],
            ),
            ("/roleRef/name", json!(""), &["roleRef.name: Required value"]),
            (
                "/subjects/0/apiGroup",
                json!("x"),
                &["subjects[0].apiGroup: Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\""],
            ),
            (
                "/subjects/0/kind",
                json!("Dog"),
                &[
                    "subjects[0].kind: Unsupported value: \"Dog\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
                ],
            ),
        ],
    );
    let old = created(kind, good);
    assert_eq!(old["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(
        faults(kind, changed(&old, "/roleRef/name", &json!("edit")), Some(&old)),
        [
            "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"ClusterRole\",\"Name\":\"edit\"}: cannot change roleRef"
        ]
    );
    assert_eq!(headings(kind), "NAME ROLE AGE (USERS) (GROUPS) (SERVICEACCOUNTS)");
    let shown = cells(kind, &old, true);
    assert_eq!((&shown[1], &shown[3], &shown[5]), (&json!("ClusterRole/view"), &json!("u"), &json!("n/s")));
}
