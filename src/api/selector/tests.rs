//! Selectors as kubectl and controllers write them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::meta::Labels;

fn labels(pairs: &[(&'static str, &'static str)]) -> Labels {
    pairs.iter().copied().collect()
}

#[test]
fn texts_select_by_label() {
    let pod = labels(&[("app", "web"), ("tier", "front"), ("n", "5")]);
    let rows = [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app = web , tier", true),
        ("app!=web", false),
        ("missing!=x", true),
        ("app in (api, web)", true),
        ("app notin (api,web)", false),
        ("missing notin (a)", true),
        ("missing in (a)", false),
        ("tier,!missing", true),
        ("!tier", false),
        ("n>4", true),
        ("n<5", false),
        ("app>4", false),
        ("missing=", false),
        ("app in ()", false),
        ("in=x", false),
        ("app in (in,web)", true),
    ];
    for (text, expected) in rows {
        let selector: LabelSelector = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.matches(&pod), expected, "{text}");
    }
}

#[test]
fn texts_are_written_back_sorted() {
    let rows = [
        ("b=1,a", "a,b=1"),
        ("x in (c,a,a)", "x in (a,c)"),
        ("!y, z notin (1)", "!y,z notin (1)"),
        ("a==b", "a==b"),
        ("a>1", "a>1"),
        ("x in (,)", "x in ()"),
    ];
    for (text, shown) in rows {
        assert_eq!(text.parse::<LabelSelector>().map(|selector| selector.to_string()).as_deref(), Ok(shown), "{text}");
    }
}

#[test]
fn bad_texts_are_told_why() {
    let rows = [
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("-a=b", "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of"),
        (
            "a=-",
            "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty string",
        ),
    ];
    for (text, start) in rows {
        let error = text.parse::<LabelSelector>().expect_err(text).to_string();
        assert!(error.starts_with(start), "{text}: {error}");
    }
}

#[test]
fn an_absent_selector_object_selects_nothing_and_an_empty_one_everything() {
    let any = labels(&[]);
    let read = |value: Value| LabelSelector::from_json(Some(&value)).expect("it is one");
    assert!(!LabelSelector::from_json(None).expect("it is one").matches(&any));
    assert!(read(json!({})).matches(&any));
    let both = read(json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "DoesNotExist"}],
    }));
    assert_eq!(both.to_string(), "app=web,tier in (a,b),!x");
    assert!(both.matches(&labels(&[("app", "web"), ("tier", "b")])));
    assert!(!both.matches(&labels(&[("app", "web"), ("tier", "b"), ("x", "")])));
    assert_eq!(both.exact("app"), Some("web"));
    assert_eq!(both.exact("tier"), None);
    assert!(LabelSelector::from_json(Some(&json!({"matchExpressions": [{"key": "a", "operator": "Gt"}]}))).is_err());
}

#[test]
fn selector_objects_are_checked_at_their_paths() {
    let selector = json!({
        "matchLabels": {"a b": "x"},
        "matchExpressions": [
            {"key": "a", "operator": "In"},
            {"key": "a", "operator": "Exists", "values": ["x"]},
            {"key": "a", "operator": "Near"},
        ],
    });
    let found: Vec<String> =
        validate_label_selector(&selector, "spec.selector").iter().map(ToString::to_string).collect();
    assert!(found[0].starts_with("spec.selector.matchLabels: Invalid value: \"a b\": name part"));
    assert_eq!(
        found[1..],
        [
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            "spec.selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            "spec.selector.matchExpressions[2].operator: Invalid value: \"Near\": not a valid selector operator",
        ]
    );
}

#[test]
fn texts_select_by_field() {
    let value = |field: &str| match field {
        "metadata.name" => "a",
        "status.phase" => "Running",
        _ => "",
    };
    let rows = [
        ("", true),
        ("metadata.name=a", true),
        ("metadata.name==a,status.phase=Running", true),
        ("metadata.name!=a", false),
        ("spec.nodeName=", true),
        ("status.phase!=Failed", true),
        ("metadata.name=a,,status.phase=Running", true),
    ];
    for (text, expected) in rows {
        let selector: FieldSelector = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.matches_with(value), expected, "{text}");
    }
    let selector: FieldSelector = r"a=b\,c\=d".parse().expect("escapes are known");
    assert_eq!(selector.terms()[0].value, "b,c=d");
    assert_eq!(selector.to_string(), r"a=b\,c\=d");
    let error = "nonsense".parse::<FieldSelector>().expect_err("there is no sign").to_string();
    assert_eq!(error, "invalid selector: 'nonsense'; can't understand 'nonsense'");
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "[a-z=!(), <>\\\\./-]{0,30}") {
        let _ = text.parse::<FieldSelector>();
        if let Ok(selector) = text.parse::<LabelSelector>() {
            let again: LabelSelector = selector.to_string().parse().expect("what it wrote it reads");
            prop_assert_eq!(again.to_string(), selector.to_string());
        }
    }
}
