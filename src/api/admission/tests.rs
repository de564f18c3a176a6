//! What the expressions of admission may say.

use serde_json::json;

use super::{Environment, Purpose, match_conditions, mutating_policy, validating_policy};
use crate::cel::Type;

fn compiled(expression: &str, purpose: Purpose) -> String {
    match Environment::new(purpose).compile(expression, Type::Bool) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn expressions_name_what_there_is() {
    for expression in [
        "object.foo == oldObject.foo",
        "object == null || oldObject == null || object.foo == oldObject.foo",
        "object.spec.text.matches('[0-9]+')",
        "object.spec.text.findAll('[0-9]+').size() > 0",
        "object.spec.list.isSorted()",
        "url(object.spec.endpoint).getHostname() in ['ok1', 'ok2']",
        "request.kind.group == 'example.com' && request.kind.version == 'v1' && request.kind.kind == 'Fake'",
        "request.resource.resource == 'fake' && request.subResource == 'scale'",
        "request.requestKind.kind == 'Fake' && request.requestResource.resource == 'fake'",
        "request.requestSubResource == 'scale' && request.name == 'n' && request.namespace == 'n'",
        "request.userInfo.groups == ['system:authenticated', 'admins'] && request.userInfo.uid == 'x'",
        "request.userInfo.extra == {'some-key': ['some-value1', 'some-value2']}",
        "request.dryRun == false && request.operation == 'CREATE'",
        "request.options == {'whatever': 'you want'}",
        "authorizer.group('') != null",
        "authorizer.group('apps').resource('deployments').subresource('status').namespace('a').name('b').check('get').allowed()",
        "authorizer.requestResource.check('custom').reason() == ''",
        "authorizer.path('/metrics').check('get').errored()",
        "object.?spec.?replicas.orValue(1) > 0",
        "object.spec.containers.all(c, has(c.image) && quantity(c.resources.limits.memory).isLessThan(quantity('1Gi')))",
    ] {
        assert_eq!(compiled(expression, Purpose::Webhook), "", "{expression}");
        assert_eq!(compiled(expression, Purpose::Policy { params: false }), "", "{expression}");
    }
    let params = Purpose::Policy { params: true };
    assert_eq!(compiled("object.foo < params.x && namespaceObject.metadata.name == 'n'", params), "");
}

#[test]
fn and_nothing_else() {
    for (expression, wanted) in [
        ("1 < 'text'", "found no matching overload for '_<_' applied to '(int, string)"),
        ("'text'.contains('x'", "Syntax error: missing ')' at"),
        ("object.foo < params.x", "undeclared reference to 'params'"),
        ("object.foo < invalid.x", "undeclared reference to 'invalid'"),
        ("namespaceObject == null", "undeclared reference to 'namespaceObject'"),
        ("request.foo1 == 'nope'", "undefined field 'foo1'"),
        ("request.resource.foo2 == 'nope'", "undefined field 'foo2'"),
        ("request.requestKind.foo3 == 'nope'", "undefined field 'foo3'"),
        ("request.userInfo.foo5 == 'nope'", "undefined field 'foo5'"),
        ("test() == true", "undeclared reference to 'test'"),
        ("size(1) == 3", "ERROR: <input>:1:5: found no matching overload for 'size' applied to '(int)'"),
        ("request.name + 'x'", "must evaluate to bool"),
    ] {
        let told = compiled(expression, Purpose::Webhook);
        assert!(told.contains(wanted), "{expression}: {told}");
    }
}

#[test]
fn a_policys_faults_are_told_at_their_places() {
    let fields = |faults: Vec<crate::FieldError>| faults.into_iter().map(|fault| fault.field).collect::<Vec<_>>();
    let policy = json!({ "spec": {
        "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" },
        "variables": [{ "name": "a", "expression": "params.x" }, { "name": "b", "expression": "variables.c" }],
        "matchConditions": [{ "name": "m", "expression": "1" }],
        "validations": [
            { "expression": "variables.a == variables.b", "messageExpression": "string(variables.a)" },
            { "expression": "variables.z", "messageExpression": "1" },
        ],
        "auditAnnotations": [{ "key": "k", "valueExpression": "1" }, { "key": "l", "valueExpression": "null" }],
    } });
    let wanted = [
        "spec.variables[1].expression",
        "spec.matchConditions[0].expression",
        "spec.validations[1].expression",
        "spec.validations[1].messageExpression",
        "spec.auditAnnotations[0].valueExpression",
    ];
    assert_eq!(fields(validating_policy(&policy)), wanted);
    let mutation = |field: &str, expression: &str| json!({ field: { "expression": expression } });
    let policy = json!({ "spec": { "mutations": [
        mutation("applyConfiguration", "Object{spec: Object.spec{replicas: 1}}"),
        mutation("applyConfiguration", "object.spec"),
        mutation("applyConfiguration", "true ? Object{} : Object{metadata: Object.metadata{}}"),
        mutation("jsonPatch", "[JSONPatch{op: 'add', path: '/a', value: {'b': 1}}]"),
        mutation("jsonPatch", "object.x ? [] : [JSONPatch{op: 'remove', path: '/a'}]"),
        mutation("jsonPatch", "[JSONPatch{op: 'add', where: '/a'}]"),
        mutation("jsonPatch", "['a']"),
    ] } });
    let wanted = [
        "spec.mutations[1].applyConfiguration.expression",
        "spec.mutations[5].jsonPatch.expression",
        "spec.mutations[6].jsonPatch.expression",
    ];
    assert_eq!(fields(mutating_policy(&policy)), wanted);
    assert!(match_conditions("x", None, Purpose::Webhook).is_empty());
}
