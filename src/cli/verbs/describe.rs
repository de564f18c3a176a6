//! `coracle describe`: the object field by field, then what happened to it.

use serde_json::Value;

use super::get::encode;
use crate::args::DescribeArgs;
use crate::connection::{Call, Connection};
use crate::resources::{Resource, Resources, Targets};
use crate::terminal;

/// Describes each object that is named.
pub async fn run(args: DescribeArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    let resources = Resources::discover(&connection).await?;
    for (resource, names) in Targets::parse(&resources, &args.what)?.wanted {
        for object in objects(&connection, &resource, &names, args.selector.as_deref()).await? {
            describe(&connection, &resource, &object).await?;
        }
    }
    Ok(())
}

async fn objects(
    connection: &Connection,
    resource: &Resource,
    names: &[String],
    labels: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    if names.is_empty() {
        let query = labels.map(|labels| format!("?labelSelector={}", encode(labels))).unwrap_or_default();
        let path = format!("{}{query}", resource.path(Some(&connection.namespace)));
        let list = connection.json(Call::get(path)).await?;
        return Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
    }
    let mut objects = Vec::new();
    for name in names {
        objects.push(connection.json(Call::get(resource.object(&connection.namespace, name))).await?);
    }
    Ok(objects)
}

async fn describe(connection: &Connection, resource: &Resource, object: &Value) -> anyhow::Result<()> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
    let mut page = String::new();
    page.push_str(&format!("Name:         {}\n", text("/metadata/name")));
    if resource.namespaced {
        page.push_str(&format!("Namespace:    {}\n", text("/metadata/namespace")));
    }
    pairs(&mut page, "Labels:", object.pointer("/metadata/labels"));
    pairs(&mut page, "Annotations:", object.pointer("/metadata/annotations"));
    page.push_str(&format!("Created:      {}\n", text("/metadata/creationTimestamp")));
    for (key, value) in object.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "metadata" | "apiVersion" | "kind") {
            field(&mut page, 0, key, value);
        }
    }
    page.push_str(&events(connection, object).await?);
    terminal::raw(page.as_bytes());
    Ok(())
}

fn pairs(page: &mut String, heading: &str, map: Option<&Value>) {
    let mut label = heading;
    for (key, value) in map.and_then(Value::as_object).into_iter().flatten() {
        if key == crate::apply::LAST_APPLIED {
            continue;
        }
        page.push_str(&format!("{label:<14}{key}={}\n", value.as_str().unwrap_or("")));
        label = "";
    }
    if label == heading {
        page.push_str(&format!("{heading:<14}<none>\n"));
    }
}

/// `creationTimestamp` → `Creation Timestamp`, as kubectl writes fields that it has no words of its own for.
fn heading(key: &str) -> String {
    let mut words = String::new();
    for (at, letter) in key.chars().enumerate() {
        if at == 0 {
            words.extend(letter.to_uppercase());
            continue;
        }
        if letter.is_uppercase() && !words.ends_with(|last: char| last.is_uppercase()) {
            words.push(' ');
        }
        words.push(letter);
    }
    words
}

fn field(page: &mut String, depth: usize, key: &str, value: &Value) {
    let indent = "  ".repeat(depth);
    let head = heading(key);
    match value {
        Value::Object(map) => {
            page.push_str(&format!("{indent}{head}:\n"));
            map.iter().for_each(|(key, value)| field(page, depth + 1, key, value));
        }
        Value::Array(list) => {
            page.push_str(&format!("{indent}{head}:\n"));
            for item in list {
                match item {
                    Value::Object(map) => {
                        map.iter().for_each(|(key, value)| field(page, depth + 1, key, value));
                        page.push('\n');
                    }
                    other => page.push_str(&format!("{indent}  {}\n", scalar(other))),
                }
            }
            while page.ends_with("\n\n") {
                page.pop();
            }
        }
        other => page.push_str(&format!("{indent}{head}:  {}\n", scalar(other))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}

async fn events(connection: &Connection, object: &Value) -> anyhow::Result<String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
    let namespace = Some(text("/metadata/namespace")).filter(|name| !name.is_empty()).unwrap_or("default".to_owned());
    let fields = format!("involvedObject.name={},involvedObject.uid={}", text("/metadata/name"), text("/metadata/uid"));
    let path = format!("/api/v1/namespaces/{namespace}/events?fieldSelector={}", encode(&fields));
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let answer = connection.json(Call::get(path).accept(table)).await?;
    let rows = answer.get("rows").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return Ok("Events:  <none>\n".to_owned());
    }
    let mut lines = vec![["  AGE", "TYPE", "REASON", "MESSAGE"].map(str::to_owned).to_vec()];
    for row in rows {
        let cell = |at: usize| row.get("cells").and_then(|cells| cells.get(at)).map(scalar).unwrap_or_default();
        let columns = answer.get("columnDefinitions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let named = |name: &str| {
            columns.iter().position(|column| column.get("name").and_then(Value::as_str) == Some(name)).map(cell)
        };
        let column = |name: &str| named(name).unwrap_or_default();
        lines.push(vec![format!("  {}", column("Last Seen")), column("Type"), column("Reason"), column("Message")]);
    }
    Ok(format!("Events:\n{}", terminal::columns(&lines)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_words() {
        assert_eq!(heading("restartPolicy"), "Restart Policy");
        assert_eq!(heading("podIP"), "Pod IP");
    }
}
