//! `coracle get`: prints the tables that the server makes.

use anyhow::bail;
use futures::{AsyncBufReadExt, TryStreamExt};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::args::{GetArgs, Output};
use crate::connection::{Call, Connection};
use crate::resources::{Resource, Resources, Targets};
use crate::{terminal, yaml};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Lists, and watches when asked.
pub async fn run(args: GetArgs) -> anyhow::Result<()> {
    let connection = Connection::open(&args.connection).await?;
    let resources = Resources::discover(&connection).await?;
    let targets = Targets::parse(&resources, &args.what)?.wanted;
    if args.watch && targets.len() != 1 {
        bail!("you may only watch one resource type at a time");
    }
    match args.output {
        Some(Output::Yaml | Output::Json | Output::Name) => print_documents(&connection, &args, &targets).await,
        _ => print_tables(&connection, &args, &targets).await,
    }
}

/// The list's path with its query, for the names asked for.
fn paths(connection: &Connection, args: &GetArgs, resource: &Resource, names: &[String]) -> Vec<String> {
    let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
    if names.is_empty() {
        return vec![format!("{}?limit=500{}", resource.path(namespace), selectors(args, None))];
    }
    names.iter().map(|name| resource.object(&connection.namespace, name)).collect()
}

fn selectors(args: &GetArgs, name: Option<&str>) -> String {
    let mut fields: Vec<String> = args.field_selector.iter().cloned().collect();
    fields.extend(name.map(|name| format!("metadata.name={name}")));
    let mut query = String::new();
    if let Some(labels) = &args.selector {
        query.push_str(&format!("&labelSelector={}", encode(labels)));
    }
    if !fields.is_empty() {
        query.push_str(&format!("&fieldSelector={}", encode(&fields.join(","))));
    }
    query
}

/// Percent-encodes what a query may not hold.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

async fn print_documents(
    connection: &Connection,
    args: &GetArgs,
    targets: &[(Resource, Vec<String>)],
) -> anyhow::Result<()> {
    let mut objects = Vec::new();
    let mut single = targets.len() == 1;
    for (resource, names) in targets {
        single &= names.len() == 1;
        for path in paths(connection, args, resource, names) {
            collect(connection, resource, path, &mut objects).await?;
        }
    }
    if args.output == Some(Output::Name) {
        for (resource, object) in &objects {
            terminal::line(&resource.display(object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("")));
        }
        return Ok(());
    }
    let mut objects: Vec<Value> = objects.into_iter().map(|(_, object)| object).collect();
    let document = match (single, objects.len()) {
        (true, 1) => objects.remove(0),
        _ => json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" }, "items": objects }),
    };
    let text = match args.output {
        Some(Output::Json) => format!("{}\n", serde_json::to_string_pretty(&document)?),
        _ => yaml::print(&document),
    };
    terminal::raw(text.as_bytes());
    Ok(())
}

/// Every object at `path`, page by page.
async fn collect(
    connection: &Connection,
    resource: &Resource,
    path: String,
    into: &mut Vec<(Resource, Value)>,
) -> anyhow::Result<()> {
    let mut next = path.clone();
    loop {
        let mut answer = connection.json(Call::get(&next)).await?;
        let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) else {
            into.push((resource.clone(), answer));
            return Ok(());
        };
        let api_version = answer.get("apiVersion").cloned().unwrap_or_default();
        for mut item in items {
            item["apiVersion"] = api_version.clone();
            item["kind"] = json!(resource.kind);
            into.push((resource.clone(), item));
        }
        match answer.pointer("/metadata/continue").and_then(Value::as_str).filter(|token| !token.is_empty()) {
            Some(token) => next = format!("{path}&continue={}", encode(token)),
            None => return Ok(()),
        }
    }
}

async fn print_tables(
    connection: &Connection,
    args: &GetArgs,
    targets: &[(Resource, Vec<String>)],
) -> anyhow::Result<()> {
    let prefixed = targets.len() > 1;
    let mut printed = false;
    for (resource, names) in targets {
        let mut table = Table::new(args, prefixed.then_some(resource));
        let mut revision = String::new();
        for path in paths(connection, args, resource, names) {
            let answer = connection.json(Call::get(path).accept(TABLE)).await?;
            revision = answer.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("").to_owned();
            table.add(&answer);
        }
        if table.rows.len() > 1 && printed {
            terminal::line("");
        }
        printed |= table.print();
        if args.watch {
            follow(connection, args, resource, names, &revision, table).await?;
        }
    }
    if !printed && !args.watch {
        let place = if args.all_namespaces { String::new() } else { format!(" in {} namespace", connection.namespace) };
        terminal::complain(&format!("No resources found{place}."));
    }
    Ok(())
}

async fn follow(
    connection: &Connection,
    args: &GetArgs,
    resource: &Resource,
    names: &[String],
    revision: &str,
    mut table: Table<'_>,
) -> anyhow::Result<()> {
    let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
    let query = selectors(args, names.first().map(String::as_str));
    let path = format!("{}?watch=true&resourceVersion={revision}{query}", resource.path(namespace));
    let body = connection.stream(Call::get(path).accept(TABLE)).await?;
    let mut lines = body.into_data_stream().map_err(std::io::Error::other).into_async_read().lines();
    while let Some(line) = lines.try_next().await? {
        let event: Value = serde_json::from_str(&line)?;
        if event.get("type").and_then(Value::as_str) == Some("ERROR") {
            bail!(
                "the watch ended: {}",
                event.pointer("/object/message").and_then(Value::as_str).unwrap_or("no reason")
            );
        }
        table.rows.clear();
        table.add(event.get("object").unwrap_or(&Value::Null));
        table.print();
    }
    Ok(())
}

/// A server's table as rows of text.
struct Table<'a> {
    args: &'a GetArgs,
    prefix: Option<&'a Resource>,
    shown: Vec<usize>,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    headed: bool,
}

impl<'a> Table<'a> {
    fn new(args: &'a GetArgs, prefix: Option<&'a Resource>) -> Self {
        Self { args, prefix, shown: Vec::new(), widths: Vec::new(), rows: Vec::new(), headed: args.no_headers }
    }

    fn add(&mut self, table: &Value) {
        let list = |field: &str| table.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let columns = list("columnDefinitions");
        if !columns.is_empty() {
            let wide = self.args.output == Some(Output::Wide);
            let visible = |column: &Value| wide || column.get("priority").and_then(Value::as_i64).unwrap_or(0) == 0;
            self.shown = (0..columns.len()).filter(|at| columns.get(*at).is_some_and(visible)).collect();
            if !self.headed && !list("rows").is_empty() {
                self.headed = true;
                let mut head: Vec<String> = Vec::new();
                head.extend(self.args.all_namespaces.then(|| "NAMESPACE".to_owned()));
                head.extend(
                    self.shown
                        .iter()
                        .filter_map(|at| columns.get(*at))
                        .map(|column| column.get("name").and_then(Value::as_str).unwrap_or("").to_uppercase()),
                );
                self.rows.push(head);
            }
        }
        for row in list("rows") {
            let row = self.row(row);
            self.rows.push(row);
        }
    }

    fn row(&self, row: &Value) -> Vec<String> {
        let mut cells = Vec::new();
        if self.args.all_namespaces {
            let namespace = row.pointer("/object/metadata/namespace").and_then(Value::as_str).unwrap_or("");
            cells.push(namespace.to_owned());
        }
        for (place, at) in self.shown.iter().enumerate() {
            let cell = row.get("cells").and_then(|cells| cells.get(*at)).map(text).unwrap_or_default();
            cells.push(match self.prefix {
                Some(resource) if place == 0 => resource.display(&cell),
                _ => cell,
            });
        }
        cells
    }

    /// Prints the rows; whether there were any.
    fn print(&mut self) -> bool {
        for (at, width) in terminal::widths(&self.rows).into_iter().enumerate() {
            match self.widths.get_mut(at) {
                Some(widest) => *widest = (*widest).max(width),
                None => self.widths.push(width),
            }
        }
        terminal::raw(terminal::columns_with(&self.widths, &self.rows).as_bytes());
        !self.rows.is_empty()
    }
}

fn text(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}
