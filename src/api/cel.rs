//! Kubernetes' expression language: compiled once, evaluated within a budget.
//!
//! An expression is read into a tree, its names and types are checked, and it is evaluated step by step; every step is
//! paid for out of a [`Budget`], so that whatever somebody wrote ends. Messages are those that Kubernetes' clients know.
//! The libraries of functions (strings, lists, quantities, addresses, …) are the kube-cel crate's.
//!
//! ```text
//! let program = Program::compile("object.spec.replicas <= 5", &["object"], Type::Bool)?;
//! let scope = Scope::new().bind("object", &object);
//! program.evaluate(&scope, &mut Budget::default())?
//! ```

mod ast;
mod authority;
mod calls;
mod check;
mod cost;
mod eval;
mod fold;
mod lexer;
mod library;
mod macros;
mod names;
mod parser;
mod scope;
mod signatures;
#[cfg(test)]
mod tests;
mod types;
mod value;

use serde_json::Value;
use thiserror::Error;

pub use authority::{Authority, Question};
pub(crate) use names::{escape, is_reserved};
pub use scope::Scope;
pub use types::{ObjectType, Type};

/// Why an expression cannot be used: Kubernetes' text, with the place marked on lines of their own.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct CompileError {
    message: String,
}

/// Why an evaluation gave no value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct EvalError {
    message: String,
    /// Whether the budget was used up.
    pub over_budget: bool,
}

impl EvalError {
    pub(crate) fn new(message: String) -> Self {
        Self { message, over_budget: false }
    }
    pub(crate) fn no_such_overload() -> Self {
        Self::new("no such overload".to_owned())
    }
}

/// What evaluations may still cost. One unit is about one step.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    total: u64,
    call: u64,
    in_call: u64,
}

impl Budget {
    /// What one expression may cost.
    pub const CALL: u64 = 1_000_000;
    /// What all expressions about one object may cost.
    pub const TOTAL: u64 = 10_000_000;

    /// A budget of `total`, of which each evaluation may take [`Budget::CALL`].
    pub fn new(total: u64) -> Self {
        Self { total, call: Self::CALL, in_call: Self::CALL }
    }
    /// What may still be spent, all evaluations together.
    pub fn remaining(&self) -> u64 {
        self.total
    }
    pub(crate) fn left(&self) -> u64 {
        self.total.min(self.in_call)
    }
    fn begin(&mut self) {
        self.in_call = self.call;
    }
    pub(crate) fn pay(&mut self, cost: u64) -> Result<(), EvalError> {
        if cost > self.left() {
            self.total = self.total.saturating_sub(cost);
            self.in_call = 0;
            let message = "operation cancelled: actual cost limit exceeded".to_owned();
            return Err(EvalError { message, over_budget: true });
        }
        self.total -= cost;
        self.in_call -= cost;
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::TOTAL)
    }
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Program {
    expr: std::sync::Arc<ast::Expr>,
    r#type: Type,
    cost: u64,
}

impl Program {
    /// Compiles `source`, in which `variables` are known, and of whose types nothing is.
    pub fn compile(source: &str, variables: &[&str], expected: Type) -> Result<Self, CompileError> {
        let variables: Vec<(&str, Type)> = variables.iter().map(|name| (*name, Type::Dyn)).collect();
        Self::compile_typed(source, &variables, expected)
    }

    /// Compiles `source`, in which the variables have types.
    pub fn compile_typed(source: &str, variables: &[(&str, Type)], expected: Type) -> Result<Self, CompileError> {
        let expr = parser::parse(source).map_err(|fault| CompileError { message: marked(source, &[fault]) })?;
        let checked = check::check(&expr, variables);
        if !checked.faults.is_empty() {
            return Err(CompileError { message: marked(source, &checked.faults) });
        }
        if !checked.r#type.fits(&expected) {
            return Err(CompileError { message: format!("must evaluate to {expected}") });
        }
        Ok(Self { expr: expr.into(), r#type: checked.r#type, cost: checked.cost })
    }

    /// The type of the result, as far as it is known.
    pub fn result(&self) -> &Type {
        &self.r#type
    }

    /// What an evaluation costs at most, by the sizes that the types allow.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether the expression names this variable.
    pub fn uses(&self, variable: &str) -> bool {
        fn names(expr: &ast::Expr, wanted: &str) -> bool {
            let mut found = matches!(&expr.node, ast::Node::Ident(name) if name == wanted);
            expr.node.each_child(&mut |child| found = found || names(child, wanted));
            found
        }
        names(&self.expr, variable)
    }

    /// Evaluates with these variables and gives JSON.
    pub fn evaluate(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<Value, EvalError> {
        budget.begin();
        self.run(scope, budget).map(|value| value::to_json(&value))
    }

    fn run(&self, scope: &Scope<'_>, budget: &mut Budget) -> eval::Outcome {
        let mut evaluator = eval::Evaluator { scope, budget, locals: Vec::new() };
        evaluator.eval(&self.expr)
    }
}

/// The faults with the lines they are in and a mark below the place.
fn marked(source: &str, faults: &[lexer::Fault]) -> String {
    let mut out = String::new();
    for (at, sentence) in faults {
        let before: String = source.chars().take(*at).collect();
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let text = source.lines().nth(line).unwrap_or_default();
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!(
            "ERROR: <input>:{}:{}: {sentence}\n | {text}\n | {}^",
            line + 1,
            column + 1,
            ".".repeat(column)
        ));
    }
    out
}
