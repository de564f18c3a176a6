//! Everything that reads what strangers write, fed with damaged examples: it answers, whatever comes, and in time.
//!
//! The examples are `fuzz/corpus/TARGET/`; what once broke something is kept there too. A longer run:
//! `PROPTEST_CASES=100000 cargo test -p coracle-api fuzz`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cel::{Budget, Program, Scope, Type};
use crate::strict::{self, ContentType, FieldValidation};
use crate::{FieldSelector, LabelSelector, Quantity, Schema, patch, protobuf, schema, yaml};

/// The longest that one input of a few kilobytes may take, on a machine that is busy with much else.
const PATIENCE: Duration = Duration::from_secs(10);

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("an example")).collect()
}

/// One thing that happens to an example: where, how much of it, and what comes in its place.
#[derive(Clone, Debug)]
enum Damage {
    Overwrite(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..6),
            proptest::sample::select(vec![
                "[",
                "{",
                "\"",
                "-",
                "9999999999999999999",
                "\\u0000",
                "*",
                "$patch",
                "null",
                "\n"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ]
    };
    prop_oneof![
        (any::<usize>(), bytes()).prop_map(|(at, new)| Damage::Overwrite(at, new)),
        (any::<usize>(), bytes()).prop_map(|(at, new)| Damage::Insert(at, new)),
        (any::<usize>(), 1..20usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<usize>(), 1..20usize, 1..200usize).prop_map(|(at, length, times)| Damage::Repeat(at, length, times)),
    ]
}

fn damaged(mut example: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for one in all {
        let place = |at: &usize| at % (example.len() + 1);
        match one {
            Damage::Overwrite(at, new) => {
                let at = place(at);
                let end = (at + new.len()).min(example.len());
                example.splice(at..end, new.iter().copied());
            }
            Damage::Insert(at, new) => {
                let at = place(at);
                example.splice(at..at, new.iter().copied());
            }
            Damage::Remove(at, length) => {
                let at = place(at);
                let end = (at + length).min(example.len());
                example.drain(at..end);
            }
            Damage::Repeat(at, length, times) => {
                let at = place(at);
                let end = (at + length).min(example.len());
                let part = example[at..end].repeat(*times);
                example.splice(at..at, part);
            }
        }
    }
    example.truncate(64 << 10);
    example
}

fn run(target: &str, input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let parsed = || serde_json::from_slice::<Value>(input).unwrap_or_else(|_| json!(text));
    match target {
        "json" => drop(strict::decode(input, ContentType::Json, None, FieldValidation::Strict)),
        "yaml" => {
            let _ = yaml::parse(&text);
            let _ = strict::decode(input, ContentType::Yaml, None, FieldValidation::Strict);
        }
        "protobuf" => drop(protobuf::decode(input)),
        "label_selector" => drop(text.parse::<LabelSelector>()),
        "field_selector" => drop(text.parse::<FieldSelector>()),
        "quantity" => {
            if let Ok(quantity) = text.parse::<Quantity>() {
                let shown = quantity.to_string();
                assert!(shown.parse::<Quantity>().is_ok(), "{text} is written as {shown}, which cannot be read");
            }
        }
        "cel" => evaluate(&text),
        "json_patch" => drop(patch::json(&mut pod(), &parsed())),
        "strategic_patch" => {
            let definition = schema::lookup("", "v1", "Pod").expect("pods have a schema");
            let _ = patch::strategic(&mut pod(), &parsed(), definition);
        }
        "definition" => read_by(&parsed()),
        other => panic!("no target {other}"),
    }
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x/y": "z"}, "finalizers": ["a"]},
        "spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]}})
}

fn evaluate(text: &str) {
    let Ok(program) = Program::compile(text, &["object"], Type::Dyn) else { return };
    let object = pod();
    let _ = program.evaluate(&Scope::new().bind("object", &object), &mut Budget::default());
}

/// A definition out of nowhere, and an object that is read by it.
fn read_by(value: &Value) {
    let made = schema::Definition::of_custom("example.com", "v1", "Thing", value);
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"},
        "spec": {"n": 7, "l": [{"k": "aaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}]}, "a": [1]});
    let _ = strict::shape(&mut object, &made);
    let _ = made.fields.iter().any(|field| matches!(field.schema, Schema::Any));
}

fn target(name: &str) {
    let examples = corpus(name);
    for example in &examples {
        run(name, example);
    }
    let count = examples.len();
    let inputs = (0..count, proptest::collection::vec(damage(), 1..8));
    let mut runner = proptest::test_runner::TestRunner::default();
    let outcome = runner.run(&inputs, |(which, how)| {
        let input = damaged(examples[which].clone(), &how);
        let began = Instant::now();
        run(name, &input);
        prop_assert!(
            began.elapsed() < PATIENCE,
            "it took {:?}: {:?}",
            began.elapsed(),
            String::from_utf8_lossy(&input)
        );
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

macro_rules! targets {
    ($($name:ident),*) => {
        $(#[test] fn $name() { target(stringify!($name)); })*
    };
}

targets!(json, yaml, protobuf, label_selector, field_selector, quantity, cel, json_patch, strategic_patch, definition);
