//! Which backend a request gets.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::object;
use crate::RouteTable;
use crate::class;
use crate::routes::build;

fn backend(service: &str) -> Value {
    json!({ "service": { "name": service, "port": { "number": 80 } } })
}

/// `kind path service`
fn path(text: &str) -> Value {
    let words: Vec<_> = text.split(' ').collect();
    json!({ "pathType": words[0], "path": words[1], "backend": backend(words[2]) })
}

fn rule(host: &str, paths: &[&str]) -> Value {
    let paths: Vec<_> = paths.iter().map(|text| path(text)).collect();
    let mut rule = json!({ "http": { "paths": paths } });
    if !host.is_empty() {
        rule["host"] = json!(host);
    }
    rule
}

fn ingress(name: &str, created: &str, spec: Value) -> Arc<Ingress> {
    let metadata = json!({ "namespace": "default", "name": name, "creationTimestamp": created });
    Arc::new(object(json!({ "metadata": metadata, "spec": spec })))
}

const OLD: &str = "2026-01-01T00:00:00Z";
const NEW: &str = "2026-01-02T00:00:00Z";

fn table(ingresses: &[Arc<Ingress>]) -> RouteTable {
    build(ingresses, &[Arc::new(class::wanted())]).table
}

fn of_rules(rules: &[Value]) -> RouteTable {
    table(&[ingress("a", OLD, json!({ "rules": rules }))])
}

fn found(table: &RouteTable, host: &str, path: &str) -> String {
    match table.find(host, path) {
        Ok(backend) => backend.service.trim_start_matches("default/").to_owned(),
        Err(no_route) => no_route.to_string(),
    }
}

/// The examples of the API's own documentation.
#[test]
fn paths_match_as_the_api_defines() {
    let cases: &[(&[&str], &str, Option<&str>)] = &[
        (&["Prefix / a"], "/any/path", Some("a")),
        (&["Prefix / a"], "/", Some("a")),
        (&["Exact /foo a"], "/foo", Some("a")),
        (&["Exact /foo a"], "/bar", None),
        (&["Exact /foo a"], "/foo/", None),
        (&["Exact /foo/ a"], "/foo", None),
        (&["Prefix /foo a"], "/foo", Some("a")),
        (&["Prefix /foo a"], "/foo/", Some("a")),
        (&["Prefix /foo/ a"], "/foo", Some("a")),
        (&["Prefix /foo/ a"], "/foo/", Some("a")),
        (&["Prefix /aaa/bb a"], "/aaa/bbb", None),
        (&["Prefix /aaa/bbb a"], "/aaa/bbb", Some("a")),
        (&["Prefix /aaa/bbb/ a"], "/aaa/bbb", Some("a")),
        (&["Prefix /aaa/bbb a"], "/aaa/bbb/", Some("a")),
        (&["Prefix /aaa/bbb a"], "/aaa/bbb/ccc", Some("a")),
        (&["Prefix /aaa/bbb a"], "/aaa/bbbxyz", None),
        (&["Prefix / a", "Prefix /aaa b"], "/aaa/ccc", Some("b")),
        (&["Prefix / a", "Prefix /aaa b"], "/aaa", Some("b")),
        (&["Prefix / a", "Prefix /aaa b", "Prefix /aaa/bbb c"], "/aaa/bbb", Some("c")),
        (&["Prefix / a", "Prefix /aaa b", "Prefix /aaa/bbb c"], "/ccc", Some("a")),
        (&["Prefix /aaa a"], "/ccc", None),
        (&["Prefix /foo a", "Exact /foo b"], "/foo", Some("b")),
        (&["Prefix /foo a", "Exact /foo b"], "/foo/x", Some("a")),
        (&["ImplementationSpecific /foo a"], "/foo/x", Some("a")),
        (&["Prefix /foo a"], "/Foo", None),
    ];
    for (paths, request, expected) in cases {
        let seen = found(&of_rules(&[rule("foo.com", paths)]), "foo.com", request);
        let none = format!("no Ingress rule for host \"foo.com\" has a path for \"{request}\"");
        assert_eq!(seen, expected.map_or(none, ToOwned::to_owned), "{paths:?} {request}");
    }
}

#[test]
fn hosts_match_as_the_api_defines() {
    let table = of_rules(&[rule("*.foo.com", &["Prefix / wild"]), rule("bar.foo.com", &["Prefix /bar precise"])]);
    let cases = [
        ("x.foo.com", "/", "wild"),
        ("X.Foo.Com", "/", "wild"),
        ("x.foo.com.", "/", "wild"),
        ("baz.x.foo.com", "/", "no Ingress has a rule for host \"baz.x.foo.com\""),
        ("foo.com", "/", "no Ingress has a rule for host \"foo.com\""),
        (".foo.com", "/", "no Ingress has a rule for host \".foo.com\""),
        ("bar.foo.com", "/bar", "precise"),
        ("bar.foo.com", "/other", "wild"),
        ("", "/", "no Ingress has a rule for host \"\""),
    ];
    for (host, path, expected) in cases {
        assert_eq!(found(&table, host, path), expected, "{host} {path}");
    }
    assert_eq!(table.hosts(), ["*.foo.com", "bar.foo.com"]);
}

#[test]
fn a_rule_without_host_takes_what_the_others_leave() {
    let table = of_rules(&[rule("", &["Prefix / any"]), rule("a.com", &["Exact /x a"])]);
    assert_eq!(found(&table, "a.com", "/x"), "a");
    assert_eq!(found(&table, "a.com", "/y"), "any");
    assert_eq!(found(&table, "b.com", "/x"), "any");
}

#[test]
fn default_backends_take_what_no_rule_wants() {
    let of_host = ingress(
        "a",
        NEW,
        json!({ "defaultBackend": backend("own"), "rules": [rule("a.com", &["Exact /x a"]), { "host": "b.com" }] }),
    );
    let table_of_one = table(std::slice::from_ref(&of_host));
    assert_eq!(found(&table_of_one, "a.com", "/x"), "a");
    assert_eq!(found(&table_of_one, "a.com", "/y"), "own");
    assert_eq!(found(&table_of_one, "b.com", "/"), "own");
    assert_eq!(found(&table_of_one, "c.com", "/"), "own");
    let all = ingress("b", OLD, json!({ "defaultBackend": backend("all") }));
    let both = table(&[of_host, all]);
    assert_eq!(found(&both, "a.com", "/y"), "own");
    assert_eq!(found(&both, "c.com", "/"), "all");
}

#[test]
fn of_two_that_claim_the_same_the_older_has_it() {
    let spec = |service: &str| json!({ "rules": [rule("a.com", &[&format!("Prefix / {service}"), &format!("Exact /x {service}")])] });
    let (old, new) = (ingress("z", OLD, spec("old")), ingress("a", NEW, spec("new")));
    let same_age = ingress("y", OLD, spec("same"));
    for order in [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()]] {
        assert_eq!(found(&table(&order), "a.com", "/"), "old");
        assert_eq!(found(&table(&order), "a.com", "/x"), "old");
    }
    assert_eq!(found(&table(&[old, new, same_age]), "a.com", "/"), "same");
}

#[test]
fn backends_are_services_by_port_number_or_name() {
    let named = json!({ "service": { "name": "web", "port": { "name": "http" } } });
    let resource = json!({ "resource": { "kind": "Bucket", "name": "files" } });
    let rules = json!([{ "http": { "paths": [
        { "pathType": "Prefix", "path": "/n", "backend": named },
        { "pathType": "Prefix", "path": "/r", "backend": resource },
        { "pathType": "ImplementationSpecific", "backend": backend("rest") },
    ] } }]);
    let table = table(&[ingress("a", OLD, json!({ "rules": rules }))]);
    let backend = table.find("x", "/n").unwrap();
    assert_eq!((backend.service.as_str(), backend.port.to_string().as_str()), ("default/web", "http"));
    assert_eq!(backend.ingress, "default/a");
    assert_eq!(table.find("x", "/r/1").unwrap().port.to_string(), "80");
}

#[test]
fn only_ingresses_of_our_classes_are_served() {
    let class = |name: &str, controller: &str, default: bool| -> Arc<IngressClass> {
        let annotations = json!({ class::DEFAULT_ANNOTATION: default.to_string() });
        Arc::new(object(
            json!({ "metadata": { "name": name, "annotations": annotations }, "spec": { "controller": controller } }),
        ))
    };
    let spec = |class: Option<&str>| json!({ "ingressClassName": class, "defaultBackend": backend("a") });
    let ours = class("coracle", class::CONTROLLER, true);
    let ours_no_default = class("coracle", class::CONTROLLER, false);
    let alias = class("public", class::CONTROLLER, false);
    let nginx = class("nginx", "k8s.io/ingress-nginx", true);
    let taken = class("coracle", "k8s.io/ingress-nginx", false);
    type Case<'c> = (Option<&'c str>, &'c [&'c Arc<IngressClass>], bool);
    let cases: [Case; 9] = [
        (Some("coracle"), &[&ours], true),
        (Some("coracle"), &[], true),
        (Some("coracle"), &[&taken], false),
        (Some("public"), &[&ours, &alias], true),
        (Some("nginx"), &[&ours, &nginx], false),
        (Some("unknown"), &[&ours], false),
        (None, &[&ours], true),
        (None, &[&ours_no_default, &nginx], false),
        (None, &[], false),
    ];
    for (name, classes, expected) in cases {
        let classes: Vec<_> = classes.iter().map(|class| Arc::clone(class)).collect();
        let served = build(&[ingress("a", OLD, spec(name))], &classes).served;
        assert_eq!(served.len() == 1, expected, "{name:?} with {classes:?}");
    }
    let mut annotated = (*ingress("a", OLD, spec(None))).clone();
    annotated.metadata.annotations = Some([(class::LEGACY_ANNOTATION.to_owned(), "nginx".to_owned())].into());
    assert!(build(&[Arc::new(annotated)], &[ours]).served.is_empty());
}

/// What the API says in words: element by element, the longest first, Exact before Prefix.
fn model<'p>(paths: &'p [(bool, String)], request: &str) -> Option<&'p (bool, String)> {
    let elements = |path: &str| path.split('/').map(ToOwned::to_owned).collect::<Vec<_>>();
    let trimmed = |path: &str| elements(path.trim_end_matches('/'));
    let exact = paths.iter().find(|(exact, path)| *exact && path == request);
    let fits = |path: &str| elements(request).starts_with(&trimmed(path));
    let prefixes = paths.iter().filter(|(exact, path)| !exact && fits(path));
    // Of equal ones the first in the list is kept.
    exact.or_else(|| prefixes.rev().max_by_key(|(_, path)| trimmed(path).len()))
}

proptest! {
    #[test]
    fn matching_paths_agrees_with_the_words_of_the_api(
        paths in prop::collection::vec((any::<bool>(), "/([ab]{1,2}(/[ab]{1,2}){0,3}/?)?"), 1..6),
        request in "/([ab]{1,2}(/[ab]{0,2}){0,4})?",
    ) {
        let texts: Vec<_> = paths.iter().enumerate()
            .map(|(index, (exact, path))| format!("{} {path} s{index}", if *exact { "Exact" } else { "Prefix" }))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let table = of_rules(&[rule("h", &texts)]);
        let seen = table.find("h", &request).ok().map(|backend| backend.service.clone());
        let expected = model(&paths, &request).and_then(|wanted| paths.iter().position(|path| path == wanted));
        prop_assert_eq!(seen, expected.map(|index| format!("default/s{index}")));
    }

    #[test]
    fn no_host_or_path_breaks_the_table(host in ".*", path in ".*") {
        let table = of_rules(&[rule("*.foo.com", &["Prefix / a"]), rule("b.com", &["Exact /x b"])]);
        let _ = table.find(&host, &path);
    }
}
