//! Tables as kubectl prints them.

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().expect("a time")
}

#[test]
fn durations_lose_digits_as_they_grow() {
    let (minute, hour, day, year) = (60, 3600, 86400, 365 * 86400);
    let rows = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (2 * minute, "2m"),
        (3 * minute + 12, "3m12s"),
        (10 * minute + 12, "10m"),
        (179 * minute, "179m"),
        (3 * hour, "3h"),
        (3 * hour + 5 * minute, "3h5m"),
        (8 * hour + 5 * minute, "8h"),
        (47 * hour, "47h"),
        (2 * day, "2d"),
        (2 * day + 3 * hour, "2d3h"),
        (8 * day + 3 * hour, "8d"),
        (729 * day, "729d"),
        (2 * year, "2y"),
        (2 * year + 4 * day, "2y4d"),
        (9 * year + 4 * day, "9y"),
    ];
    for (seconds, shown) in rows {
        assert_eq!(human_duration(seconds), shown, "{seconds}");
    }
    assert_eq!(since(None, now()), "<unknown>");
}

#[test]
fn paths_lead_into_objects() {
    let object = json!({
        "spec": {"a.b": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2, "extra": true}], "deep": {"er": "text"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
    });
    let rows = [
        (".spec.deep.er", json!(["text"])),
        ("{.spec.deep.er}", json!(["text"])),
        ("$.spec.deep.er", json!(["text"])),
        ("spec.deep.er", json!(["text"])),
        (".spec['a.b']", json!([1])),
        (".spec.a\\.b", json!([1])),
        (".spec.list[0].n", json!(["x"])),
        (".spec.list[-1].n", json!(["y"])),
        (".spec.list[*].v", json!([1, 2])),
        (".spec.list[?(@.n=='y')].v", json!([2])),
        (".spec.list[?(@.v!=2)].n", json!(["x"])),
        (".spec.list[?(@.extra)].n", json!(["y"])),
        (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
        (".nothing.here", json!([])),
        (".spec.list[9]", json!([])),
    ];
    for (path, expected) in rows {
        let parsed: JsonPath = path.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let found: Value = parsed.find(&object).into_iter().cloned().collect();
        assert_eq!(found, expected, "{path}");
    }
    for bad in [".", "a..b", ".a[", ".a[x]", ".a[?(@.b==)]", ".a]b["] {
        assert!(bad.parse::<JsonPath>().is_err() || bad == ".a]b[", "{bad}");
    }
}

fn custom() -> Kind {
    let column = |name: &str, kind: &str, path: &str| Column {
        name: name.into(),
        kind: kind.into(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        cell: Cell::Path(path.into()),
    };
    let mut kind = crate::kinds::row::row("", "v1", "Thing", "things", crate::Scope::Namespaced).build();
    kind.columns = vec![
        name_column(),
        column("Text", "string", ".spec.text"),
        column("Number", "integer", ".spec.text"),
        column("Since", "date", ".metadata.creationTimestamp"),
        column("List", "string", ".spec.list"),
        age_column(),
    ];
    kind
}

#[test]
fn a_table_has_columns_cells_and_metadata() {
    let kind = custom();
    let object = json!({
        "kind": "Thing", "apiVersion": "v1",
        "metadata": {"name": "a", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:05:00Z"},
        "spec": {"text": "t", "list": [1]},
    });
    let table = table_of_one(&kind, &object, IncludeObject::Metadata, now(), true);
    assert_eq!(table["metadata"], json!({"resourceVersion": "7"}));
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["rows"][0]["cells"], json!(["a", "t", null, "5m", "[1]", "5m"]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "a");
    let bare = row(&kind, &object, IncludeObject::None, now());
    assert_eq!(bare["object"], Value::Null);
    assert_eq!(row(&kind, &object, IncludeObject::Object, now())["object"], object);
}
