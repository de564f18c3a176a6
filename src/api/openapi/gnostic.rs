//! The OpenAPI v2 document in the protobuf that older clients ask for (`openapi.v2` of the gnostic project).

use serde_json::{Map, Value};

/// A message under way.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: usize) {
        loop {
            // Seven bits a byte, and the mark that more follow.
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }
    fn bytes(&mut self, number: usize, value: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(value.len());
        self.0.extend_from_slice(value);
    }
    fn message(&mut self, number: usize, value: &Self) {
        self.bytes(number, &value.0);
    }
    /// A text field of `from`, if it is there.
    fn text(&mut self, number: usize, from: &Value, name: &str) {
        if let Some(text) = from.get(name).and_then(Value::as_str) {
            self.bytes(number, text.as_bytes());
        }
    }
    /// A list of texts of `from`, if it is there.
    fn texts(&mut self, number: usize, from: &Value, name: &str) {
        for text in from.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            self.bytes(number, text.as_bytes());
        }
    }
    fn flag(&mut self, number: usize, from: &Value, name: &str) {
        if from.get(name).and_then(Value::as_bool) == Some(true) {
            self.varint(number << 3);
            self.varint(1);
        }
    }
    /// Every `x-…` of `from` as a name with its YAML, which JSON is.
    fn extensions(&mut self, number: usize, from: &Value) {
        for (name, value) in from.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
            let mut any = Self::default();
            any.bytes(2, value.to_string().as_bytes());
            self.named(number, name, &any);
        }
    }
    fn named(&mut self, number: usize, name: &str, value: &Self) {
        let mut pair = Self::default();
        pair.bytes(1, name.as_bytes());
        pair.message(2, value);
        self.message(number, &pair);
    }
}

/// `document` (OpenAPI v2 as JSON) as protobuf.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document, "swagger");
    if let Some(info) = document.get("info") {
        let mut message = Message::default();
        message.text(1, info, "title");
        message.text(2, info, "version");
        out.message(2, &message);
    }
    let mut paths = Message::default();
    for (path, body) in fields(document, "paths") {
        paths.named(2, path, &item(body));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for (name, body) in fields(document, "definitions") {
        definitions.named(1, name, &schema(body));
    }
    out.message(9, &definitions);
    out.0
}

fn fields<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(name).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn item(body: &Value) -> Message {
    let mut out = Message::default();
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(operation) = body.get(method) {
            out.message(number, &self::operation(operation));
        }
    }
    parameters(&mut out, 9, body);
    out
}

fn operation(body: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, body, "tags");
    out.text(5, body, "operationId");
    out.texts(6, body, "produces");
    out.texts(7, body, "consumes");
    parameters(&mut out, 8, body);
    let mut responses = Message::default();
    for (code, response) in fields(body, "responses") {
        let mut inner = Message::default();
        inner.text(1, response, "description");
        if let Some(shown) = response.get("schema") {
            let mut choice = Message::default();
            choice.message(1, &schema(shown));
            inner.message(2, &choice);
        }
        let mut value = Message::default();
        value.message(1, &inner);
        responses.named(1, code, &value);
    }
    out.message(9, &responses);
    out.extensions(13, body);
    out
}

fn parameters(out: &mut Message, number: usize, body: &Value) {
    for parameter in body.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let place = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
        let mut choice = Message::default();
        let mut inner = Message::default();
        if place == "body" {
            inner.text(2, parameter, "name");
            inner.text(3, parameter, "in");
            inner.flag(4, parameter, "required");
            if let Some(shown) = parameter.get("schema") {
                inner.message(5, &schema(shown));
            }
            choice.message(1, &inner);
        } else {
            let in_query = place == "query";
            inner.flag(1, parameter, "required");
            inner.text(2, parameter, "in");
            inner.text(4, parameter, "name");
            inner.text(if in_query { 6 } else { 5 }, parameter, "type");
            inner.flag(if in_query { 20 } else { 19 }, parameter, "uniqueItems");
            let mut other = Message::default();
            other.message(if in_query { 3 } else { 4 }, &inner);
            choice.message(2, &other);
        }
        let mut entry = Message::default();
        entry.message(1, &choice);
        out.message(number, &entry);
    }
}

fn schema(body: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, body, "$ref");
    out.text(2, body, "format");
    out.text(4, body, "description");
    out.texts(19, body, "required");
    if let Some(values) = body.get("additionalProperties") {
        let mut choice = Message::default();
        choice.message(1, &schema(values));
        out.message(21, &choice);
    }
    if body.get("type").is_some() {
        let mut kind = Message::default();
        kind.text(1, body, "type");
        out.message(22, &kind);
    }
    if let Some(items) = body.get("items") {
        let mut list = Message::default();
        list.message(1, &schema(items));
        out.message(23, &list);
    }
    if body.get("properties").is_some() {
        let mut properties = Message::default();
        for (name, inner) in fields(body, "properties") {
            properties.named(1, name, &schema(inner));
        }
        out.message(25, &properties);
    }
    out.extensions(31, body);
    out
}
