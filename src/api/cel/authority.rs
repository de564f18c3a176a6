//! `authorizer` in the expressions of admission: asks whether somebody may do something.

use std::sync::Arc;

use kube_cel::cel::Value;
use kube_cel::cel::objects::Opaque;

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Empty: who made the request. `system:serviceaccount:NAMESPACE:NAME` otherwise.
    pub service_account: Option<(String, String)>,
    /// A path that is no resource.
    pub path: Option<String>,
    /// The API group.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// `status`
    pub subresource: String,
    /// Empty: all.
    pub namespace: String,
    /// Empty: all.
    pub name: String,
    /// Set by `check`.
    pub verb: String,
    /// As the client wrote it.
    pub field_selector: String,
    /// As the client wrote it.
    pub label_selector: String,
}

/// Who answers.
pub trait Authority: Send + Sync {
    /// Whether it is allowed, and why; an error is a sentence.
    fn decide(&self, question: &Question) -> Result<(bool, String), String>;
    /// The question about the very request that is admitted.
    fn request(&self) -> Question {
        Question::default()
    }
}

/// `authorizer` and what its methods give before `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asking(Question);

impl Opaque for Asking {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Authorizer"
    }
}

/// The answer of `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer(Result<(bool, String), String>);

impl Opaque for Answer {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}

pub(crate) fn begin() -> Value {
    Value::Opaque(Arc::new(Asking(Question::default())))
}

/// `authorizer.requestResource`
pub(crate) fn select(value: &Value, field: &str, authority: Option<&dyn Authority>) -> Option<Value> {
    let (Value::Opaque(opaque), "requestResource") = (value, field) else { return None };
    opaque.downcast_ref::<Asking>()?;
    Some(Value::Opaque(Arc::new(Asking(authority?.request()))))
}

/// A method of one of these values, or nothing if it is none.
pub(crate) fn method(
    function: &str,
    target: &Value,
    args: &[Value],
    authority: Option<&dyn Authority>,
) -> Option<Value> {
    let Value::Opaque(opaque) = target else { return None };
    if let Some(answer) = opaque.downcast_ref::<Answer>() {
        let text = |text: &str| Value::String(Arc::new(text.to_owned()));
        return Some(match (function, &answer.0) {
            ("allowed", answer) => Value::Bool(matches!(answer, Ok((true, _)))),
            ("reason", Ok((_, reason))) => text(reason),
            ("reason", Err(_)) => text(""),
            ("errored", answer) => Value::Bool(answer.is_err()),
            ("error", answer) => text(answer.as_ref().err().map_or("", String::as_str)),
            _ => return None,
        });
    }
    let mut question = opaque.downcast_ref::<Asking>()?.0.clone();
    let texts: Vec<String> = args
        .iter()
        .map(|arg| if let Value::String(text) = arg { Some(text.to_string()) } else { None })
        .collect::<Option<_>>()?;
    match (function, texts.as_slice()) {
        ("check", [verb]) => {
            question.verb.clone_from(verb);
            let answer = authority.map_or(Err("nobody to ask".to_owned()), |authority| authority.decide(&question));
            return Some(Value::Opaque(Arc::new(Answer(answer))));
        }
        ("path", [path]) => question.path = Some(path.clone()),
        ("group", [group]) => question.group.clone_from(group),
        ("resource", [resource]) => question.resource.clone_from(resource),
        ("subresource", [subresource]) => question.subresource.clone_from(subresource),
        ("namespace", [namespace]) => question.namespace.clone_from(namespace),
        ("name", [name]) => question.name.clone_from(name),
        ("fieldSelector", [selector]) => question.field_selector.clone_from(selector),
        ("labelSelector", [selector]) => question.label_selector.clone_from(selector),
        ("serviceAccount", [namespace, name]) => question.service_account = Some((namespace.clone(), name.clone())),
        _ => return None,
    }
    Some(Value::Opaque(Arc::new(Asking(question))))
}
