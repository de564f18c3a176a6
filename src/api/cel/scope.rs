//! What an expression can name.

use std::cell::RefCell;
use std::collections::HashMap;

use kube_cel::cel::Value;
use serde_json::Value as Json;

use super::value::{of_json, typed};
use super::{Authority, Budget, EvalError, Program, Type, authority};

/// The variables of an evaluation. Made once, it serves many programs.
#[derive(Default)]
pub struct Scope<'a> {
    values: HashMap<String, Value>,
    composed: Option<Composed<'a>>,
    pub(crate) authority: Option<&'a dyn Authority>,
}

/// Variables that are programs themselves, each evaluated when it is asked for the first time.
struct Composed<'a> {
    name: String,
    programs: &'a [(String, Program)],
    known: RefCell<HashMap<String, Option<Result<Value, EvalError>>>>,
}

impl<'a> Scope<'a> {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// `name` is this JSON.
    #[must_use]
    pub fn bind(mut self, name: &str, value: &Json) -> Self {
        self.values.insert(name.to_owned(), of_json(value));
        self
    }

    /// `name` is this JSON, read as its type says.
    #[must_use]
    pub fn bind_typed(mut self, name: &str, value: &Json, r#type: &Type) -> Self {
        self.values.insert(name.to_owned(), typed(value, r#type));
        self
    }

    /// `name` is an optional value.
    #[must_use]
    pub fn bind_optional(mut self, name: &str, value: Option<&Json>, r#type: &Type) -> Self {
        let value = super::value::optional(value.map(|value| typed(value, r#type)));
        self.values.insert(name.to_owned(), value);
        self
    }

    /// `name.field` is what the program of that name gives (`variables.x`). A program may use those before it.
    #[must_use]
    pub fn compose(mut self, name: &str, programs: &'a [(String, Program)]) -> Self {
        self.composed = Some(Composed { name: name.to_owned(), programs, known: RefCell::default() });
        self
    }

    /// `authorizer` asks this.
    #[must_use]
    pub fn authorize(mut self, authority: &'a dyn Authority) -> Self {
        self.values.insert("authorizer".to_owned(), authority::begin());
        self.authority = Some(authority);
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<Value> {
        self.values.get(name).cloned()
    }

    pub(crate) fn composes(&self, name: &str) -> bool {
        self.composed.as_ref().is_some_and(|composed| composed.name == name)
    }

    pub(crate) fn composed(&self, name: &str, field: &str, budget: &mut Budget) -> Option<Result<Value, EvalError>> {
        let composed = self.composed.as_ref().filter(|composed| composed.name == name)?;
        let (_, program) = composed.programs.iter().find(|(name, _)| name == field)?;
        if let Some(known) = composed.known.borrow().get(field) {
            let circular = || Err(EvalError::new(format!("variable \"{field}\" refers to itself")));
            return Some(known.clone().unwrap_or_else(circular));
        }
        composed.known.borrow_mut().insert(field.to_owned(), None);
        let found = program.run(self, budget);
        composed.known.borrow_mut().insert(field.to_owned(), Some(found.clone()));
        Some(found)
    }
}
