//! Evaluates the expressions of webhooks and policies about one request.

use std::sync::Arc;

use api::admission::{Environment, Purpose};
use api::cel::{Authority, Budget, EvalError, Program, Question, Scope, Type};
use api::{AccessRequest, Status, UserInfo};
use futures::FutureExt;
use objects::Review;
use parking_lot::Mutex;
use serde_json::Value;

use super::matching::{Asked, Matched};
use super::request;
use crate::authorization::{Authorizer, Decision};

/// What all match conditions of one webhook or policy may cost together.
const MATCH_BUDGET: u64 = Budget::TOTAL / 4;

/// A compiled expression with its source, which messages repeat.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    pub source: String,
    program: Result<Program, String>,
}

impl Expression {
    /// Compiles it. One that cannot be compiled fails each time it is evaluated: it was stored before it was checked.
    pub fn new(environment: &Environment, source: &str, expected: Type) -> Self {
        let program = environment.compile(source, expected).map_err(|error| error.to_string());
        Self { source: source.to_owned(), program }
    }

    /// The type of its result; anything where it cannot be compiled.
    pub fn result(&self) -> Type {
        self.program.as_ref().map_or(Type::Dyn, |program| program.result().clone())
    }

    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref().ok()
    }

    /// Its value.
    pub fn evaluate(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<Value, Fault> {
        let program =
            self.program.as_ref().map_err(|why| Fault::Own(format!("compilation error: compilation failed: {why}")))?;
        match program.evaluate(scope, budget) {
            Ok(value) => Ok(value),
            Err(EvalError { over_budget: true, .. }) if budget.remaining() == 0 => Err(Fault::Budget),
            Err(error) => Err(Fault::Own(format!("expression '{}' resulted in error: {error}", self.source))),
        }
    }
}

/// Why an expression gave no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Something is wrong with this one.
    Own(String),
    /// Nothing may be evaluated any more.
    Budget,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Own(why) => why,
            Self::Budget => {
                "validation failed due to running out of cost budget, no further validation rules will be run"
            }
        })
    }
}

/// A request as expressions see it.
pub(super) struct Subject<'a> {
    pub object: Value,
    pub old: Value,
    request: Value,
    namespace: Value,
    oracle: Oracle<'a>,
}

impl<'a> Subject<'a> {
    /// The request in the version that a webhook or a policy wants to see.
    ///
    /// # Errors
    /// Its objects cannot be converted.
    pub async fn new(asked: &Asked<'a>, matched: &Matched, authorizer: &'a dyn Authorizer) -> Result<Self, Status> {
        let (object, old) = request::objects(asked.review, matched).await?;
        let oracle = Oracle::new(asked.review, asked.namespace, authorizer);
        Ok(Self { object, old, request: request::of(asked, matched), namespace: Value::Null, oracle })
    }

    /// The same, with the Namespace of the request.
    #[must_use]
    pub fn within(mut self, namespace: Option<Value>) -> Self {
        self.namespace = namespace.unwrap_or_default();
        without_ownership(&mut self.namespace);
        self
    }

    /// Runs `work` over the variables, again where it asked for access that could not be decided at once.
    pub async fn evaluate<T>(
        &self,
        params: Option<&Value>,
        variables: &[(String, Program)],
        work: impl Fn(&Scope<'_>) -> T + Send + Sync,
    ) -> T
    where
        T: Send,
    {
        loop {
            let outcome = {
                let mut scope = Scope::new()
                    .bind("object", &self.object)
                    .bind("oldObject", &self.old)
                    .bind("request", &self.request)
                    .bind("namespaceObject", &self.namespace)
                    .authorize(&self.oracle)
                    .compose("variables", variables);
                scope = scope.bind("params", params.unwrap_or(&Value::Null));
                work(&scope)
            };
            if !self.oracle.settle().await {
                return outcome;
            }
        }
    }
}

/// Who owns which fields, and who owns an object, is none of the expressions' business.
pub(super) fn without_ownership(namespace: &mut Value) {
    if let Some(metadata) = namespace.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "ownerReferences", "selfLink"] {
            metadata.remove(field);
        }
    }
}

/// Answers `authorizer` by asking the cluster's own. Evaluation cannot wait: what is not decided at once is asked
/// afterwards, and the evaluation is done again.
struct Oracle<'a> {
    user: &'a UserInfo,
    own: Question,
    authorizer: &'a dyn Authorizer,
    known: Mutex<Vec<(Question, (bool, String))>>,
    open: Mutex<Vec<Question>>,
}

impl<'a> Oracle<'a> {
    fn new(review: &Review<'a>, namespace: &str, authorizer: &'a dyn Authorizer) -> Self {
        let own = Question {
            group: review.requested.group.clone(),
            resource: review.requested.plural.clone(),
            subresource: review.sub.name().to_owned(),
            namespace: namespace.to_owned(),
            name: review.name.to_owned(),
            ..Question::default()
        };
        Self { user: review.user, own, authorizer, known: Mutex::default(), open: Mutex::default() }
    }

    fn access(&self, question: &Question) -> AccessRequest {
        let user = match &question.service_account {
            None => self.user.clone(),
            Some((namespace, name)) => UserInfo::service_account(namespace, name),
        };
        let mut access = AccessRequest { user, verb: question.verb.clone(), ..AccessRequest::default() };
        if let Some(path) = &question.path {
            access.path.clone_from(path);
            return access;
        }
        access.group.clone_from(&question.group);
        "*".clone_into(&mut access.version);
        access.resource.clone_from(&question.resource);
        access.subresource.clone_from(&question.subresource);
        access.namespace.clone_from(&question.namespace);
        access.name.clone_from(&question.name);
        access.field_selector.clone_from(&question.field_selector);
        access.label_selector.clone_from(&question.label_selector);
        access
    }

    /// Decides what was left open. Answers whether there was anything.
    async fn settle(&self) -> bool {
        let open = std::mem::take(&mut *self.open.lock());
        for question in &open {
            let decision = self.authorizer.authorize(&self.access(question)).await;
            self.known.lock().push((question.clone(), told(&decision)));
        }
        !open.is_empty()
    }
}

fn told(decision: &Decision) -> (bool, String) {
    (decision.is_allowed(), decision.reason().to_owned())
}

impl Authority for Oracle<'_> {
    fn decide(&self, question: &Question) -> Result<(bool, String), String> {
        let known = self.known.lock().iter().find(|(known, _)| known == question).map(|(_, answer)| answer.clone());
        if let Some(answer) = known {
            return Ok(answer);
        }
        let access = self.access(question);
        match self.authorizer.authorize(&access).now_or_never() {
            Some(decision) => {
                self.known.lock().push((question.clone(), told(&decision)));
                Ok(told(&decision))
            }
            None => {
                self.open.lock().push(question.clone());
                Err("not decided yet".to_owned())
            }
        }
    }

    fn request(&self) -> Question {
        self.own.clone()
    }
}

/// `matchConditions`.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    list: Arc<Vec<Expression>>,
    fails_open: bool,
}

impl Conditions {
    /// Of a webhook.
    pub fn of_webhook(conditions: Option<&Value>, fails_open: bool) -> Self {
        Self::read(conditions, &Environment::new(Purpose::Webhook), fails_open)
    }

    /// In an environment of a policy.
    pub fn read(conditions: Option<&Value>, environment: &Environment, fails_open: bool) -> Self {
        let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
        let sources = conditions.filter_map(|condition| condition.get("expression").and_then(Value::as_str));
        let list = sources.map(|source| Expression::new(environment, source, Type::Bool)).collect();
        Self { list: Arc::new(list), fails_open }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether all of them hold for a webhook.
    pub async fn hold(&self, subject: &Subject<'_>) -> Result<bool, String> {
        subject.evaluate(None, &[], |scope| self.hold_in(scope)).await
    }

    /// Whether all of them hold. One that does not counts more than one that fails; failures count by the policy.
    pub fn hold_in(&self, scope: &Scope<'_>) -> Result<bool, String> {
        let mut budget = Budget::new(MATCH_BUDGET);
        let mut faults = Vec::new();
        for condition in self.list.iter() {
            match condition.evaluate(scope, &mut budget) {
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(Fault::Budget) => {
                    faults = vec![Fault::Budget.to_string()];
                    break;
                }
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        match faults.as_slice() {
            [] => Ok(true),
            _ if self.fails_open => Ok(false),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }
}
