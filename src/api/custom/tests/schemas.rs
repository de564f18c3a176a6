//! Schemas that are refused, and why; schemas and rules that must not be.

use serde_json::{Value, json};

use super::{definition_with, faults, spec_schema};

#[test]
fn schemas_must_be_structural() {
    let rules = |rule: Value| json!({ "type": "object", "properties": { "x": { "type": "integer" }, "l": { "type": "array", "items": { "type": "string" } } }, "x-kubernetes-validations": [rule] });
    let at = "spec.validation.openAPIV3Schema.properties[spec]";
    let cases = [
        (
            json!({ "properties": {} }),
            format!("{at}.type: Required value: must not be empty for specified object fields"),
        ),
        (json!({ "type": "array" }), format!("{at}.items: Required value: must be specified")),
        (
            json!({ "type": "array", "items": {} }),
            format!("{at}.items.type: Required value: must not be empty for specified array items"),
        ),
        (
            json!({ "type": "object", "anyOf": [{ "type": "object" }] }),
            format!("{at}.anyOf[0].type: Forbidden: must be empty to be structural"),
        ),
        (
            json!({ "type": "object", "anyOf": [{ "properties": { "a": { "minimum": 1 } } }] }),
            format!("{at}.properties[a]: Required value: because it is defined in {at}.anyOf[0].properties[a]"),
        ),
        (
            json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": { "type": "string" } }),
            format!("{at}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"),
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true }),
            format!(
                "{at}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
            ),
        ),
        (
            json!({ "type": "string", "pattern": "(" }),
            format!("{at}.pattern: Invalid value: \"(\": must be a valid regular expression, but isn't"),
        ),
        (
            json!({ "type": "string", "x-kubernetes-int-or-string": true }),
            format!("{at}.type: Invalid value: \"string\": type must be empty if x-kubernetes-int-or-string is true"),
        ),
        (
            json!({ "type": "array", "items": { "type": "object", "properties": { "k": { "type": "string" } } }, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"] }),
            format!(
                "{at}.items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            ),
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "map" }),
            format!(
                "{at}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"
            ),
        ),
        (json!({ "type": "string", "$ref": "#/x" }), format!("{at}.$ref: Forbidden: $ref is not supported")),
        (json!({ "type": "integer", "default": "x" }), format!("{at}.default: Invalid value: \"string\": ")),
        (
            json!({ "type": "object", "default": { "y": 1 }, "properties": { "x": { "type": "integer" } } }),
            format!("{at}.default: Invalid value: {{\"y\":1}}: must not have unknown fields: y"),
        ),
        (
            rules(json!({ "rule": "self.z == 100" })),
            format!(
                "{at}.x-kubernetes-validations[0].rule: Invalid value: \"self.z == 100\": compilation failed: ERROR: <input>:1:5: undefined field 'z'"
            ),
        ),
        (rules(json!({ "rule": "self.x = 100" })), "Syntax error: token recognition error at: '= '".to_owned()),
        (
            rules(json!({ "rule": "self.x" })),
            format!(
                "{at}.x-kubernetes-validations[0].rule: Invalid value: \"self.x\": cel expression must evaluate to a bool"
            ),
        ),
        (
            rules(json!({ "rule": "self.l.all(a, self.l.all(b, self.l.all(c, a == b && b == c)))" })),
            format!(
                "{at}.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x"
            ),
        ),
        (
            rules(json!({ "rule": "true", "message": "a\nb" })),
            format!(
                "{at}.x-kubernetes-validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks"
            ),
        ),
        (
            rules(json!({ "rule": "" })),
            format!("{at}.x-kubernetes-validations[0].rule: Required value: rule is not specified"),
        ),
        (
            rules(json!({ "rule": "true", "fieldPath": ".nope" })),
            format!("{at}.x-kubernetes-validations[0].fieldPath: Invalid value"),
        ),
    ];
    for (spec, wanted) in cases {
        let found = faults(&definition_with(spec_schema(spec.clone())));
        assert!(found.iter().any(|fault| fault.contains(&wanted)), "{wanted}: {found:#?}");
    }
    let root = faults(&definition_with(json!({ "properties": {} })));
    assert!(root.iter().any(|fault| fault == "spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root"), "{root:?}");
}

#[test]
fn good_schemas_are_accepted() {
    let good = [
        json!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] }),
        json!({ "x-kubernetes-preserve-unknown-fields": true }),
        json!({ "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true }),
        json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        json!({ "type": "object", "properties": { "a": { "type": "string", "default": "x" } }, "default": {} }),
        json!({ "type": "object", "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } }, "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] }),
        json!({ "type": "array", "maxItems": 100, "items": { "type": "object", "required": ["k"], "properties": { "k": { "type": "string", "maxLength": 63 } }, "x-kubernetes-validations": [{ "rule": "self.k != 'x'" }] }, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "x-kubernetes-validations": [{ "rule": "self.all(a, self.exists_one(b, a.k == b.k))" }] }),
        json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-validations": [{ "rule": "self.all(a, a.startsWith('x'))" }] }),
    ];
    for spec in good {
        assert_eq!(faults(&definition_with(spec_schema(spec.clone()))), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn rules_as_operators_write_them_compile() {
    let text = || json!({ "type": "string", "maxLength": 253 });
    let listener = json!({ "type": "object", "properties": {
        "name": text(), "hostname": text(), "port": { "type": "integer" }, "protocol": text(),
        "tls": { "type": "object", "properties": { "mode": text(), "certificateRefs": { "type": "array", "maxItems": 64, "items": { "type": "object", "properties": { "name": text() } } }, "options": { "type": "object", "maxProperties": 16, "additionalProperties": text() } } },
    } });
    let filter = json!({ "type": "object", "properties": { "type": text(), "requestMirror": { "type": "object", "properties": { "percent": { "type": "integer" }, "fraction": { "type": "object" } } } } });
    let matched = json!({ "type": "object", "properties": { "path": { "type": "object", "properties": { "type": text(), "value": { "type": "string", "maxLength": 1024 } } } } });
    let rule = json!({ "type": "object", "properties": {
        "filters": { "type": "array", "maxItems": 16, "items": filter }, "matches": { "type": "array", "maxItems": 64, "items": matched },
        "timeouts": { "type": "object", "properties": { "request": { "type": "string", "maxLength": 10 }, "backendRequest": { "type": "string", "maxLength": 10 } } },
    } });
    let spec = json!({ "type": "object", "properties": {
        "listeners": { "type": "array", "maxItems": 64, "items": listener }, "rules": { "type": "array", "maxItems": 16, "items": rule },
        "size": { "x-kubernetes-int-or-string": true }, "name": text(), "namespace": text(), "when": { "type": "string", "format": "date-time" },
        "labels": { "type": "object", "additionalProperties": text(), "maxProperties": 32 }, "quantity": text(), "cidr": text(), "mode": { "type": "string", "enum": ["A", "B"] },
    } });
    let rules = [
        "self.listeners.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)",
        "self.listeners.all(l, (l.protocol == 'HTTPS' && has(l.tls)) ? (l.tls.mode == '' || l.tls.mode == 'Terminate') : true)",
        "self.listeners.all(l, l.protocol in ['UDP', 'TCP'] ? (!has(l.hostname) || l.hostname == '') : true)",
        "self.listeners.all(l1, self.listeners.exists_one(l2, l1.name == l2.name))",
        "self.listeners.all(l1, self.listeners.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol && (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : !has(l1.hostname) && !has(l2.hostname))))",
        "self.listeners.all(l, has(l.tls) && l.tls.mode == 'Terminate' ? size(l.tls.certificateRefs) > 0 || size(l.tls.options) > 0 : true)",
        "(self.rules.size() > 0 ? self.rules[0].matches.size() : 0) + (self.rules.size() > 1 ? self.rules[1].matches.size() : 0) <= 128",
        "self.rules.all(r, r.filters.filter(f, f.type == 'RequestMirror').size() <= 1)",
        "self.rules.all(r, r.filters.all(f, !(has(f.requestMirror) && has(f.requestMirror.percent) && has(f.requestMirror.fraction))))",
        r#"self.rules.all(r, r.matches.all(m, (m.path.type in ['Exact', 'PathPrefix']) ? m.path.value.matches(r"""^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$""") : true))"#,
        "!(has(self.rules[0].timeouts.request) && has(self.rules[0].timeouts.backendRequest) && duration(self.rules[0].timeouts.request) != duration('0s') && duration(self.rules[0].timeouts.backendRequest) > duration(self.rules[0].timeouts.request))",
        "type(self.size) == string ? string(self.size).endsWith('%') : int(self.size) > 0",
        "self.__namespace__ == 'a' || self.name.startsWith(self.__namespace__ + '-')",
        "self.when < timestamp('2030-01-01T00:00:00Z') && self.when.getFullYear() >= 2020",
        "self.labels.all(k, k.size() <= 63 && self.labels[k].size() <= 63) && ('app' in self.labels)",
        "isQuantity(self.quantity) && quantity(self.quantity).isLessThan(quantity('10Gi'))",
        "isCIDR(self.cidr) && cidr(self.cidr).ip().family() == 4 && cidr(self.cidr).prefixLength() <= 24",
        "[has(self.name), has(self.quantity), has(self.cidr)].filter(x, x == true).size() == 1",
        "self.mode == oldSelf.mode || oldSelf.mode == 'A' && self.mode == 'B'",
        "!has(oldSelf.name) || has(self.name)",
        "self.listeners.map(l, l.name).isSorted() && self.listeners.map(l, l.port).sum() < 100000",
        "format.dns1123Subdomain().validate(self.name) == optional.none()",
        "!format.dns1123Label().validate(self.name).hasValue()",
        "self.name.lowerAscii() == self.name && self.name.split('.').all(s, s.size() > 0) && self.name.find('[0-9]+') != ''",
        "self.?labels[?'app'].orValue('') != 'x' && self.?labels.app.hasValue()",
        "sets.intersects(self.listeners.map(l, l.name), ['a', 'b']) || self.listeners.exists(l, l.name.matches('^a'))",
        "math.greatest(self.listeners.map(l, l.port)) < 65536 || cel.bind(n, self.name, n == 'x')",
    ];
    for rule in rules {
        let mut spec = spec.clone();
        spec["x-kubernetes-validations"] = json!([{ "rule": rule }]);
        assert_eq!(faults(&definition_with(spec_schema(spec))), Vec::<String>::new(), "{rule}");
    }
}
