//! Label selectors, read once, so that the same question asked by many pods is seen to be the same.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub(crate) type Labels = BTreeMap<String, String>;

/// What a set of labels must be like. Nothing asked means everything matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Matcher {
    /// A selector that is absent matches nothing.
    nothing: bool,
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    /// A word that the API refuses: it matches nothing.
    Unknown,
}

impl Matcher {
    /// Matches whatever it is asked about.
    pub fn everything() -> Self {
        Self { nothing: false, requirements: Vec::new() }
    }

    pub fn of(selector: Option<&LabelSelector>) -> Self {
        let Some(selector) = selector else { return Self { nothing: true, requirements: Vec::new() } };
        let equal = selector.match_labels.iter().flatten().map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        });
        let expressions = selector.match_expressions.iter().flatten().map(|expression| {
            let mut values = expression.values.clone().unwrap_or_default();
            values.sort();
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => Operator::Unknown,
            };
            Requirement { key: expression.key.clone(), operator, values }
        });
        let mut requirements: Vec<Requirement> = equal.chain(expressions).collect();
        requirements.sort();
        requirements.dedup();
        Self { nothing: false, requirements }
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.meets(labels.get(&requirement.key)))
    }
}

impl Requirement {
    fn meets(&self, value: Option<&String>) -> bool {
        let listed = |value: &String| self.values.contains(value);
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Unknown => false,
        }
    }
}
