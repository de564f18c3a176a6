//! Expressions by table: what they give, what is said of those that are wrong, and that every one ends.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Budget, ObjectType, Program, Scope, Type};

fn eval_in(source: &str, object: &Value) -> Result<Value, String> {
    let program = Program::compile(source, &["object", "self"], Type::Dyn).map_err(|error| error.to_string())?;
    let scope = Scope::new().bind("object", object).bind("self", object);
    program.evaluate(&scope, &mut Budget::default()).map_err(|error| error.to_string())
}

#[test]
fn expressions_give_values() {
    let object = json!({
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 443}], "x-y": 1, "f": 1.5},
        "nothing": null
    });
    let table = [
        ("1 + 2 * 3", json!(7)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("!!true", json!(true)),
        ("7 % 4 - 1", json!(2)),
        ("0x10 + 1", json!(17)),
        ("1.5e2", json!(150.0)),
        ("'a' + \"b\" + r'\\n' + '\\n' + '''c'd'''", json!("ab\\n\nc'd")),
        ("object.spec.replicas <= 5 && object.metadata.namespace == 'default'", json!(true)),
        ("self.metadata.__namespace__", json!("default")),
        ("self.spec.x__dash__y", json!(1)),
        ("object.spec.`x-y`", json!(1)),
        ("object.spec['x-y'] == 1", json!(true)),
        ("has(object.spec.replicas) && !has(object.spec.other)", json!(true)),
        ("has(object.nothing)", json!(true)),
        ("object.spec.ports.all(p, p.port > 0)", json!(true)),
        ("object.spec.ports.exists(p, p.name == 'b')", json!(true)),
        ("object.spec.ports.exists_one(p, p.port == 80)", json!(true)),
        ("object.spec.ports.map(p, p.port)", json!([80, 443])),
        ("object.spec.ports.map(p, p.port > 100, p.name)", json!(["b"])),
        ("object.spec.ports.filter(p, p.port < 100).size()", json!(1)),
        ("object.metadata.labels.all(k, k.startsWith('a'))", json!(true)),
        ("object.spec.ports.all(i, p, i < 2 && p.port > 0)", json!(true)),
        ("object.metadata.labels.transformMap(k, v, k + v)", json!({"app": "appweb"})),
        ("object.metadata.labels.transformList(k, v, k + '=' + v)", json!(["app=web"])),
        ("[3, 1, 2].sortBy(x, -x)", json!([3, 2, 1])),
        ("object.?spec.?missing.orValue(5)", json!(5)),
        ("object.spec.?replicas.value()", json!(3)),
        ("object[?'spec'].?replicas.hasValue()", json!(true)),
        ("object.?spec.optMap(s, s.replicas + 1)", json!(4)),
        ("[1, ?object.?other, 2]", json!([1, 2])),
        ("cel.bind(x, 4, x * x)", json!(16)),
        ("size('héé')", json!(3)),
        ("'abc'.matches('^a.c$')", json!(true)),
        ("'a,b'.split(',')", json!(["a", "b"])),
        ("['a', 'b'].join('-')", json!("a-b")),
        ("'%s is %d'.format(['x', 5])", json!("x is 5")),
        ("quantity('1Gi').isGreaterThan(quantity('1000Mi'))", json!(true)),
        ("isQuantity('1x')", json!(false)),
        ("ip('10.0.0.1').family()", json!(4)),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", json!(true)),
        ("url('https://a.b:8080/c').getPort()", json!("8080")),
        ("semver('1.2.3').major()", json!(1)),
        ("sets.contains([1, 2, 3], [2])", json!(true)),
        ("math.greatest(1, 5, 3)", json!(5)),
        ("[1, 2, 3].sum() == 6 && [1, 2].isSorted()", json!(true)),
        ("timestamp('2024-01-02T03:04:05Z').getFullYear()", json!(2024)),
        ("duration('90m') > duration('1h')", json!(true)),
        ("timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')", json!(true)),
        ("type(1) == int && type('') != int", json!(true)),
        ("string(5) + string(true)", json!("5true")),
        ("string(duration('90m')) + string(timestamp('2024-01-02T03:04:05Z'))", json!("5400s2024-01-02T03:04:05Z")),
        ("int(timestamp('1970-01-01T00:01:00Z'))", json!(60)),
        ("int('12') + int(3.9)", json!(15)),
        ("dyn(1) == 1.0", json!(true)),
        ("true || object.missing", json!(true)),
        ("object.missing || true", json!(true)),
        ("false && object.missing", json!(false)),
        ("{'a': 1, ?'b': optional.none()}", json!({"a": 1})),
        ("Object{spec: Object.spec{replicas: 4}}", json!({"spec": {"replicas": 4}})),
        ("1 in [1, 2] && 'app' in object.metadata.labels", json!(true)),
        ("object.spec.f > 1.0 ? 'big' : 'small'", json!("big")),
        ("// said\n  1 // and done", json!(1)),
        ("base64.decode('aGk=') == b'hi'", json!(true)),
        ("format.dns1123Label().validate('a-b').hasValue()", json!(false)),
        ("'a'.lowerAscii().upperAscii()", json!("A")),
        ("lists.range(3)", json!([0, 1, 2])),
    ];
    for (source, wanted) in table {
        assert_eq!(eval_in(source, &object), Ok(wanted), "{source}");
    }
}

#[test]
fn what_goes_wrong_is_said_as_elsewhere() {
    let object = json!({"a": [1], "s": "x"});
    let table = [
        ("object.b", "no such key: b"),
        ("object.a[4]", "index out of bounds: 4"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("object.s > 1", "no such overload"),
        ("object.s && true", "no such overload"),
        ("'a'.matches('(')", "error parsing regexp"),
        ("quantity('x')", "quantities must match"),
        ("1 + ", "ERROR: <input>:1:5: Syntax error: mismatched input '<EOF>' expecting"),
        (
            "object = 42",
            "ERROR: <input>:1:8: Syntax error: token recognition error at: '= '\n | object = 42\n | .......^",
        ),
        ("foo.bar", "ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo.bar\n | ^"),
        ("object.nope()", "undeclared reference to 'nope' (in container '')"),
        (
            "1 + 'a'",
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^",
        ),
        ("'a'.startsWith(1)", "found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("has(object)", "invalid argument to has() macro"),
        ("[1].all(1, true)", "argument must be a simple name"),
        ("'abc", "token recognition error"),
    ];
    for (source, wanted) in table {
        let said = eval_in(source, &object).unwrap_err();
        assert!(said.contains(wanted), "{source}: {said}");
    }
}

#[test]
fn declared_types_are_checked() {
    let fields = [("x", Type::Int), ("names", Type::List(Arc::new(Type::String(10)), 5)), ("free", Type::Dyn)];
    let fields = fields.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
    let object = Type::Object(Arc::new(ObjectType { name: "object".to_owned(), fields }));
    let compile = |source: &str| Program::compile_typed(source, &[("self", object.clone())], Type::Bool);
    assert!(compile("self.x > 1 && self.names.all(n, n.size() < 5) && self.free.anything").is_ok());
    assert!(compile("self.z == 100").unwrap_err().to_string().contains("undefined field 'z'"));
    assert!(compile("self.x == 'a'").unwrap_err().to_string().contains("'_==_' applied to '(int, string)'"));
    assert_eq!(compile("self.x").unwrap_err().to_string(), "must evaluate to bool");
    let cost = |source: &str| compile(source).unwrap().cost();
    assert!(cost("self.names.all(n, self.names.all(m, m != n))") > 4 * cost("self.names.all(n, n != '')"));
    assert!(cost("self.free.all(a, self.free.all(b, self.free.all(c, a != b)))") > 1_000_000_000);
}

#[test]
fn variables_can_be_programs() {
    let names = ["object", "variables"];
    let programs = [("n", "object.a"), ("twice", "variables.n * 2"), ("bad", "object.missing")]
        .map(|(name, source)| (name.to_owned(), Program::compile(source, &names, Type::Dyn).unwrap()));
    let object = json!({"a": 4});
    let scope = Scope::new().bind("object", &object).compose("variables", &programs);
    let program = Program::compile("variables.twice + variables.n", &names, Type::Dyn).unwrap();
    assert_eq!(program.evaluate(&scope, &mut Budget::default()).unwrap(), json!(12));
    let bad = Program::compile("variables.bad", &names, Type::Dyn).unwrap();
    assert_eq!(bad.evaluate(&scope, &mut Budget::default()).unwrap_err().to_string(), "no such key: missing");
}

#[test]
fn bombs_end() {
    let many: Vec<Value> = (0..2000).map(|number| json!(number)).collect();
    let object = json!({"l": many, "s": "a".repeat(100_000)});
    let mut doubled = "a".to_owned();
    let mut doubled_list = "[a, a]".to_owned();
    for at in 0..60 {
        doubled = format!("cel.bind(a, a + a, {doubled})");
        doubled_list = if at == 0 { doubled_list } else { format!("cel.bind(a, [a, a], {doubled_list})") };
    }
    let bombs = [
        "object.l.all(a, object.l.all(b, object.l.all(c, a + b + c >= 0)))".to_owned(),
        format!("cel.bind(a, 'xxxxxxxxxxxxxxxx', {doubled})"),
        format!("cel.bind(a, [1], {doubled_list} == 1)"),
        "object.s.replace('', object.s)".to_owned(),
        "lists.range(1000000000000)".to_owned(),
        "object.l.map(a, object.l)".to_owned(),
        "object.l.map(a, object.s).join(object.s)".to_owned(),
        "object.s.matches('(((((a{1,50}){1,50}){1,50}){1,50}){1,50})')".to_owned(),
        "'%.99999999f'.format([1.0])".to_owned(),
        "object.s.contains(object.s + 'b') || object.s.matches(object.s)".to_owned(),
        "quantity('1e2147483647').add(quantity('1')) == quantity('1')".to_owned(),
        "object.l.distinct().size() > 0 && object.l.map(x, [x]).distinct().size() > 0".to_owned(),
    ];
    for bomb in bombs {
        // Nesting that is refused when compiled ends as well.
        assert!(eval_in(&bomb, &object).is_err(), "{bomb}");
    }
    for nested in
        ["(".repeat(100_000), "[".repeat(100_000), "-".repeat(100_000), "a.".repeat(100_000), "!".repeat(99_999)]
    {
        assert!(eval_in(&nested, &object).is_err());
    }
    assert!(eval_in(&format!("1{}", "+1".repeat(100_000)), &object).is_err());
    assert!(eval_in(&format!("{}1", "true ? 1 : ".repeat(100_000)), &object).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn nothing_panics(source in "[a-z0-9 .,()\\[\\]{}?:!'\"&|<>=+*/%-]{0,60}") {
        let _ = eval_in(&source, &json!({"a": {"b": [1, "x", null]}}));
    }

    #[test]
    fn no_combination_of_words_panics(words in proptest::collection::vec(proptest::sample::select(vec![
        "object", ".a", ".b", "[0]", "(", ")", "+", "-", "==", "in", "1", "'x'", "1.5", "null", "true", "size", ".map(x,",
        ".all(x,", "x", "quantity('1k')", ".add(", "timestamp('2024-01-01T00:00:00Z')", "duration('1s')", ".?a", "optional.of(",
        ".orValue(", "math.abs(", "-9223372036854775808", "'%s'.format([", "])", "ip('::1')", ".sum()", "18446744073709551615u",
        ".substring(", ",", "?", ":", "semver('1.0.0')", ".reverse()", ".indexOf(", "math.bitShiftLeft(", "string(", "int(",
    ]), 0..12)) {
        let _ = eval_in(&words.concat(), &json!({"a": {"b": [1, "x", null]}}));
    }
}
