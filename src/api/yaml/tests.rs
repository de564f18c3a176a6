//! Tests of yaml.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn values_are_read_as_kubectl_reads_them() {
    for (text, expected) in [
        ("a: 0644", json!({"a": 420})),
        ("a: yes\nb: off\nc: \"yes\"", json!({"a": true, "b": false, "c": "yes"})),
        ("a: y\nb: N", json!({"a": true, "b": false})),
        ("a: 1e3\nb: 1.5\nc: 0x10", json!({"a": 1000.0, "b": 1.5, "c": 16})),
        ("a: ~\nb:\nc: null", json!({"a": null, "b": null, "c": null})),
        ("1: x", json!({"1": "x"})),
        ("a: 2026-01-02", json!({"a": "2026-01-02"})),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y", json!({"a": "x\ny\n", "b": "x y"})),
        ("a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2", json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}})),
        ("{\"a\": [1, 2]}", json!({"a": [1, 2]})),
        ("a: 1.10.0\nb: 12:30:45", json!({"a": "1.10.0", "b": "12:30:45"})),
    ] {
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn a_stream_is_cut_into_documents_with_their_lines() {
    let found = documents("# head\n---\na: 1\n---\n# nothing\n---\nb: 2\n--- \nc: 3\n...\n").unwrap();
    let lines: Vec<_> = found.iter().map(|document| document.line).collect();
    assert_eq!(lines, [2, 6, 8]);
    assert_eq!(found[2].value, json!({"c": 3}));
    assert_eq!(documents("").unwrap(), []);
    assert_eq!(documents("a: \"---\"\nb: |\n  ---\n").unwrap().len(), 1);
}

#[track_caller]
fn refused(text: &str) -> YamlError {
    documents(text).unwrap_err()
}

#[test]
fn errors_say_where() {
    let error = refused("---\na: 1\n---\nb: 1\nc: 2\nb: 3\n");
    assert_eq!((error.line, error.column), (6, 1), "{error}");
    assert_eq!(error.to_string(), "line 6, column 1: duplicate mapping key: b");
    let error = refused(&format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000)));
    assert!(error.to_string().ends_with("nested more than 64 levels deep"), "{error}");
    let error = refused("a:\n\tb: 1\n");
    assert_eq!(error.to_string(), "line 2, column 1: a tab is used for indentation; use spaces");
    let error = refused("a: [1, 2\nb: 3");
    assert!(error.line > 0, "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn bombs_do_not_go_off() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", "));
    }
    refused(&bomb);
    for depth in [64, 65, 66, 1_000] {
        let lists = parse(&format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
        let maps = parse(&(0..depth).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>());
        assert_eq!((lists.is_ok(), maps.is_ok()), (depth <= 64, depth <= 64), "{depth} {lists:?} {maps:?}");
    }
    refused(&"[".repeat(10_000));
    refused(&format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)));
    let deep: String = (0..5_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    refused(&deep);
}

#[test]
fn objects_are_printed_as_kubectl_prints_them() {
    let value = json!({
        "kind": "ConfigMap", "apiVersion": "v1", "empty": {}, "none": [], "null": null,
        "data": {"yes": "true", "number": "10", "text": "a\nb\n", "keep": "a\n\n", "cut": "a\nb", "quoted": "a: b", "sharp": "#x", "star": "*",
            "blank": "", "date": "2026-01-02T03:04:05Z", "colon": "http://x:80/", "tab": "a\tb", "odd": "a\u{1}b", "dash": "- a", "lead": "  a\nb"},
        "list": [{"b": 1, "a": [1, 2]}, "x", [1, [2]]],
    });
    let expected = r#"apiVersion: v1
data:
  blank: ""
  colon: http://x:80/
  cut: |-
    a
    b
  dash: '- a'
  date: "2026-01-02T03:04:05Z"
  keep: |+
    a

  lead: |2-
      a
    b
  number: "10"
  odd: "a\x01b"
  quoted: 'a: b'
  sharp: '#x'
  star: '*'
  tab: 'a	b'
  text: |
    a
    b
  "yes": "true"
empty: {}
kind: ConfigMap
list:
- a:
  - 1
  - 2
  b: 1
- x
- - 1
  - - 2
none: []
"null": null
"#;
    assert_eq!(to_string(&value), expected);
    assert_eq!(parse(expected).unwrap(), value);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~\n\t]{0,12}".prop_map(Value::from),
        "[a-z0-9:#,.'\"{}*&!|>%@ \n-]{0,8}".prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z0-9:# .]{0,5}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(value in value()) {
        let text = to_string(&json!({"x": value}));
        let back = parse(&text);
        prop_assert_eq!(back.map_err(|error| format!("{error}\n{text}")), Ok(json!({"x": value})));
    }
    #[test]
    fn no_text_is_fatal(text in "[a-c:\\[\\]{}&*!|> \n\t#\"'-]{0,60}") {
        let _ = documents(&text);
    }
}
