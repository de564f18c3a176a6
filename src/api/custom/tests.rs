//! Definitions and resources by table: what is refused and in which words, what is dropped, filled in and shown.

mod schemas;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{kinds, naming, spec_checks};
use crate::{Kind, kinds as table};

const NOW: &str = "2026-01-01T00:00:00Z";

fn definition_with(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com", "generation": 1 },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList", "shortNames": ["wd"] },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }],
        },
    })
}

fn spec_schema(spec: Value) -> Value {
    json!({ "type": "object", "properties": { "spec": spec } })
}

fn faults(crd: &Value) -> Vec<String> {
    spec_checks::faults(crd, None).iter().map(ToString::to_string).collect()
}

fn kind_of(schema: Value) -> Arc<Kind> {
    let crd = naming::settled(&definition_with(schema), &[], NOW);
    assert!(naming::is_true(&crd, "Established"));
    kinds(&crd, 0).remove(0)
}

fn widget(spec: Value) -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": "w" }, "spec": spec })
}

#[test]
fn a_definition_is_completed_and_accepted() {
    let mut crd = definition_with(spec_schema(json!({ "type": "object" })));
    for name in ["singular", "listKind"] {
        crd["spec"]["names"].as_object_mut().unwrap().remove(name);
    }
    let row = table::custom_resource_definition::kind();
    row.behaviour.default(&mut crd);
    assert_eq!(crd["spec"]["names"]["singular"], "widget");
    assert_eq!(crd["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(crd["spec"]["conversion"], json!({ "strategy": "None" }));
    row.behaviour.prepare_create(&mut crd);
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(faults(&crd), Vec::<String>::new());
    let settled = naming::settled(&crd, &[], NOW);
    assert_eq!(settled["status"]["acceptedNames"]["kind"], "Widget");
    assert_eq!(settled["status"]["acceptedNames"]["shortNames"], json!(["wd"]));
    assert_eq!(naming::settled(&settled, &[], "later"), settled);
    let kind = &kinds(&settled, 0)[0];
    assert_eq!((kind.plural.as_str(), kind.strategic, kind.status), ("widgets", false, false));
    assert_eq!(kind.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["Name", "Age"]);
}

#[test]
fn taken_names_are_told() {
    let first = naming::settled(&definition_with(spec_schema(json!({ "type": "object" }))), &[], NOW);
    let mut second = definition_with(spec_schema(json!({ "type": "object" })));
    second["metadata"]["name"] = json!("gadgets.example.com");
    second["spec"]["names"]["plural"] = json!("gadgets");
    second["spec"]["names"]["singular"] = json!("gadget");
    let second = naming::settled(&second, &[&first], NOW);
    assert!(!naming::is_true(&second, "Established"));
    let conditions = second["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions[0]["reason"], "ListKindConflict");
    assert_eq!(conditions[0]["message"], "\"WidgetList\" is already in use");
    assert_eq!(conditions[1]["message"], "not all names are accepted");
    // Once the other one is gone, the names are free.
    assert!(naming::is_true(&naming::settled(&second, &[], NOW), "Established"));
}

#[test]
fn a_wrong_definition_is_refused() {
    let plain = || definition_with(spec_schema(json!({ "type": "object" })));
    let with = |pointer: &str, value: Value| {
        let mut crd = plain();
        *crd.pointer_mut(pointer).unwrap() = value;
        crd
    };
    let second = |served: bool, storage: bool, name: &str| {
        let mut crd = plain();
        let mut version = crd["spec"]["versions"][0].clone();
        version["name"] = json!(name);
        version["served"] = json!(served);
        version["storage"] = json!(storage);
        crd["spec"]["versions"].as_array_mut().unwrap().push(version);
        crd
    };
    let cases = [
        (
            with("/metadata/name", json!("x")),
            "metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group",
        ),
        (with("/spec/scope", json!("")), "spec.scope: Required value"),
        (
            with("/spec/scope", json!("World")),
            "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            with("/spec/names/listKind", json!("Widget")),
            "spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same",
        ),
        (
            second(true, true, "v2"),
            "spec.versions: Invalid value: [\"v1\",\"v2\"]: must have exactly one version marked as storage version",
        ),
        (second(true, false, "v1"), "spec.versions: Invalid value: [\"v1\",\"v1\"]: must contain unique version names"),
        (
            with("/spec/versions/0/schema", json!({})),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            with("/spec/group", json!("nodots")),
            "spec.group: Invalid value: \"nodots\": should be a domain with at least one dot",
        ),
        (
            with("/spec/group", json!("x.k8s.io")),
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ),
    ];
    for (crd, wanted) in cases {
        assert!(faults(&crd).iter().any(|fault| fault == wanted), "{wanted}: {:?}", faults(&crd));
    }
}

#[test]
fn unknown_fields_go_and_defaults_come() {
    let kind = kind_of(spec_schema(json!({
        "type": "object",
        "properties": {
            "a": { "type": "integer", "default": 5 },
            "deep": { "type": "object", "default": {}, "properties": { "b": { "type": "string", "default": "x" } } },
            "open": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": { "k": { "type": "object" } } },
            "list": { "type": "array", "items": { "type": "object", "properties": { "n": { "type": "integer", "default": 1 } } } },
            "map": { "type": "object", "additionalProperties": { "type": "object", "properties": { "n": { "type": "integer", "default": 1 } } } },
            "maybe": { "type": "string", "nullable": true, "default": "d" },
            "embedded": { "type": "object", "x-kubernetes-embedded-resource": true, "properties": { "spec": { "type": "object" } } },
        },
    })));
    let mut object = widget(json!({
        "a": null, "extra": 1, "open": { "any": { "x": 1 }, "k": { "gone": 1 } }, "list": [{}, { "n": 2, "m": 3 }], "map": { "one": {} },
        "maybe": null, "embedded": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": { "x": 1 }, "other": 1 },
    }));
    kind.behaviour.default(&mut object);
    let wanted = json!({
        "a": 5, "deep": { "b": "x" }, "open": { "any": { "x": 1 }, "k": {} }, "list": [{ "n": 1 }, { "n": 2 }], "map": { "one": { "n": 1 } },
        "maybe": null, "embedded": { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": {} },
    });
    assert_eq!(object["spec"], wanted);
    let once = object.clone();
    kind.behaviour.default(&mut object);
    assert_eq!(object, once);
}

#[test]
fn values_are_validated_in_known_words() {
    let kind = kind_of(spec_schema(json!({
        "type": "object", "required": ["must"],
        "properties": {
            "must": { "type": "string" }, "n": { "type": "integer", "minimum": 1, "maximum": 10, "multipleOf": 2 },
            "s": { "type": "string", "maxLength": 3, "minLength": 2, "pattern": "^a" }, "e": { "type": "string", "enum": ["x", "y"] },
            "t": { "type": "string", "format": "date-time" }, "l": { "type": "array", "maxItems": 1, "items": { "type": "string" } },
            "set": { "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string" } },
            "m": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": { "type": "object", "required": ["k"], "properties": { "k": { "type": "string" } } } },
            "one": { "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } }, "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] },
            "ios": { "x-kubernetes-int-or-string": true }, "em": { "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true }, "x": { "type": "number", "exclusiveMinimum": true, "minimum": 0 },
        },
    })));
    let cases = [
        (json!({}), "spec.must: Required value"),
        (
            json!({ "must": 5 }),
            "spec.must: Invalid value: \"integer\": spec.must in body must be of type string: \"integer\"",
        ),
        (
            json!({ "must": null }),
            "spec.must: Invalid value: \"null\": spec.must in body must be of type string: \"null\"",
        ),
        (
            json!({ "must": "a", "n": "x" }),
            "spec.n: Invalid value: \"string\": spec.n in body must be of type integer: \"string\"",
        ),
        (
            json!({ "must": "a", "n": 1.5 }),
            "spec.n: Invalid value: \"number\": spec.n in body must be of type integer: \"number\"",
        ),
        (
            json!({ "must": "a", "n": 0 }),
            "spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1",
        ),
        (
            json!({ "must": "a", "n": 12 }),
            "spec.n: Invalid value: 12: spec.n in body should be less than or equal to 10",
        ),
        (json!({ "must": "a", "n": 3 }), "spec.n: Invalid value: 3: spec.n in body should be a multiple of 2"),
        (json!({ "must": "a", "s": "abcd" }), "spec.s: Too long: may not be more than 3 bytes"),
        (
            json!({ "must": "a", "s": "a" }),
            "spec.s: Invalid value: \"a\": spec.s in body should be at least 2 chars long",
        ),
        (json!({ "must": "a", "s": "bb" }), "spec.s: Invalid value: \"bb\": spec.s in body should match '^a'"),
        (json!({ "must": "a", "e": "z" }), "spec.e: Unsupported value: \"z\": supported values: \"x\", \"y\""),
        (
            json!({ "must": "a", "t": "now" }),
            "spec.t: Invalid value: \"now\": spec.t in body must be of type date-time: \"now\"",
        ),
        (json!({ "must": "a", "l": ["a", "b"] }), "spec.l: Too many: 2: must have at most 1 items"),
        (
            json!({ "must": "a", "l": [5] }),
            "spec.l[0]: Invalid value: \"integer\": spec.l[0] in body must be of type string: \"integer\"",
        ),
        (json!({ "must": "a", "set": ["a", "a"] }), "spec.set[1]: Duplicate value: \"a\""),
        (json!({ "must": "a", "m": [{ "k": "a" }, { "k": "a" }] }), "spec.m[1]: Duplicate value: {\"k\":\"a\"}"),
        (
            json!({ "must": "a", "one": {} }),
            "<nil>: Invalid value: \"\": \"spec.one\" must validate one and only one schema (oneOf). Found none valid",
        ),
        (
            json!({ "must": "a", "one": { "a": "", "b": "" } }),
            "<nil>: Invalid value: \"\": \"spec.one\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
        (json!({ "must": "a", "em": {} }), "spec.em.apiVersion: Required value: must not be empty"),
        (
            json!({ "must": "a", "ios": true }),
            "spec.ios: Invalid value: \"boolean\": spec.ios in body must be of type integer,string: \"boolean\"",
        ),
        (json!({ "must": "a", "x": 0 }), "spec.x: Invalid value: 0: spec.x in body should be greater than 0"),
    ];
    for (spec, wanted) in cases {
        let found: Vec<String> = kind.behaviour.validate(&widget(spec), None).iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|fault| fault == wanted), "{wanted}: {found:?}");
    }
    let good = json!({ "must": "a", "n": 4, "s": "abc", "e": "x", "t": "2024-01-01T00:00:00Z", "l": ["a"], "one": { "a": "" }, "ios": "5%", "x": 0.1 });
    assert_eq!(kind.behaviour.validate(&widget(good), None), Vec::new());
    // What was wrong before and is left alone does not stand in the way of another change.
    let old = widget(json!({ "must": "a", "n": 3 }));
    assert_eq!(kind.behaviour.validate(&widget(json!({ "must": "b", "n": 3 })), Some(&old)), Vec::new());
    assert_eq!(kind.behaviour.validate(&widget(json!({ "must": "b", "n": 5 })), Some(&old)).len(), 1);
}

#[test]
fn rules_see_what_was() {
    let kind = kind_of(spec_schema(json!({
        "type": "object",
        "x-kubernetes-validations": [
            { "rule": "self.min <= self.max", "message": "min must not be above max", "fieldPath": ".min" },
            { "rule": "self.max < 100", "messageExpression": "'max is ' + string(self.max)", "reason": "FieldValueForbidden" },
        ],
        "properties": {
            "min": { "type": "integer" }, "max": { "type": "integer" },
            "fixed": { "type": "string", "x-kubernetes-validations": [{ "rule": "self == oldSelf", "message": "fixed is immutable" }] },
            "once": { "type": "string", "x-kubernetes-validations": [{ "rule": "!oldSelf.hasValue() || self == oldSelf.value()", "optionalOldSelf": true }] },
            "l": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": { "type": "object", "required": ["k"], "properties": { "k": { "type": "string" }, "v": { "type": "integer", "x-kubernetes-validations": [{ "rule": "self >= oldSelf" }] } } } },
            "when": { "type": "string", "format": "date-time", "x-kubernetes-validations": [{ "rule": "self > timestamp('2020-01-01T00:00:00Z')" }] },
        },
    })));
    let said = |new: Value, old: Option<Value>| -> Vec<String> {
        let old = old.map(widget);
        kind.behaviour.validate(&widget(new), old.as_ref()).iter().map(ToString::to_string).collect()
    };
    let base = json!({ "min": 1, "max": 2, "fixed": "a", "once": "o", "l": [{ "k": "x", "v": 5 }] });
    let with = |field: &str, value: Value| {
        let mut new = base.clone();
        new[field] = value;
        new
    };
    assert_eq!(said(base.clone(), None), Vec::<String>::new());
    assert_eq!(said(with("min", json!(5)), None), ["spec.min: Invalid value: \"object\": min must not be above max"]);
    assert_eq!(said(with("max", json!(100)), None), ["spec: Forbidden: max is 100"]);
    assert_eq!(
        said(with("fixed", json!("b")), Some(base.clone())),
        ["spec.fixed: Invalid value: \"string\": fixed is immutable"]
    );
    assert_eq!(said(with("once", json!("p")), Some(base.clone())).len(), 1);
    assert_eq!(
        said(with("l", json!([{ "k": "y", "v": 1 }, { "k": "x", "v": 4 }])), Some(base.clone())),
        ["spec.l[1].v: Invalid value: \"integer\": failed rule: self >= oldSelf"]
    );
    assert_eq!(said(with("when", json!("2019-01-01T00:00:00Z")), None).len(), 1);
    let blocked = said(with("min", json!("x")), None);
    assert!(
        blocked
            .iter()
            .any(|fault| fault.starts_with("<nil>: Invalid value: null: some validation rules were not checked")),
        "{blocked:?}"
    );
}

#[test]
fn versions_share_storage() {
    let mut crd = definition_with(spec_schema(json!({ "type": "object" })));
    let mut second = crd["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["additionalPrinterColumns"] = json!([{ "name": "Size", "type": "integer", "jsonPath": ".spec.size" }]);
    second["subresources"] = json!({ "status": {}, "scale": { "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas" } });
    second["deprecated"] = json!(true);
    crd["spec"]["versions"].as_array_mut().unwrap().push(second);
    crd["spec"]["versions"][0]["served"] = json!(false);
    assert_eq!(faults(&crd), Vec::<String>::new());
    let rows = kinds(&naming::settled(&crd, &[], NOW), 7);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row.version, "v2");
    assert_eq!(row.custom.as_ref().unwrap().stored.as_ref().unwrap().version, "v1");
    assert_eq!(row.scale.as_ref().unwrap().spec_replicas, "/spec/replicas");
    assert_eq!(row.columns[1].name, "Size");
    assert_eq!(row.behaviour.deprecation(), Some("example.com/v2 Widget is deprecated"));
    let set = crate::KindSet::new(rows.clone());
    assert_eq!(set.by_storage("example.com/widgets").unwrap().version, "v1");
    assert!(set.by_resource("example.com", "v1", "widgets").is_none());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec![
            "object",
            "array",
            "string",
            "integer",
            "",
            "self.a == 1",
            "^a(b",
            "map",
            "set",
            "x",
            ".spec",
            "date-time"
        ])
        .prop_map(Value::from),
    ];
    let words = prop::sample::select(vec![
        "type",
        "properties",
        "items",
        "additionalProperties",
        "default",
        "anyOf",
        "oneOf",
        "not",
        "required",
        "enum",
        "pattern",
        "minimum",
        "x-kubernetes-validations",
        "rule",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
        "x-kubernetes-embedded-resource",
        "nullable",
        "spec",
        "a",
        "metadata",
        "allOf",
        "format",
    ]);
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((words.clone(), inner), 0..6).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn nothing_that_is_json_panics(schema in any_json(), object in any_json(), old in any_json()) {
        let crd = definition_with(schema.clone());
        let _ = faults(&crd);
        let _ = spec_checks::faults(&json!({ "spec": schema, "status": object }), Some(&old));
        let crd = naming::settled(&crd, &[&object], NOW);
        for kind in kinds(&crd, 0) {
            let mut object = object.clone();
            kind.behaviour.default(&mut object);
            let _ = kind.behaviour.validate(&object, Some(&old));
            let _ = crate::table::row(&kind, &object, crate::table::IncludeObject::Metadata, jiff::Timestamp::UNIX_EPOCH);
        }
        let row = table::custom_resource_definition::kind();
        let mut any = object.clone();
        row.behaviour.default(&mut any);
    }
}
