//! The functions of Kubernetes' CEL libraries, as the kube-cel crate has them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr};
use kube_cel::cel::{Context, ExecutionError, Value};

thread_local! {
    static FUNCTIONS: Context<'static> = Context::default().with_all();
}

const NAMES: [&str; 7] = ["@0", "@1", "@2", "@3", "@4", "@5", "@6"];
const TARGET: &str = "@t";

fn variable(name: &str) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Ident(name.to_owned()) }
}

/// Calls a function by its whole name.
pub(crate) fn call(function: &str, target: Option<Value>, args: &[Value]) -> Result<Value, String> {
    if args.len() > NAMES.len() {
        return Err("no such overload".to_owned());
    }
    FUNCTIONS.with(|functions| {
        let mut context = functions.new_inner_scope();
        for (name, value) in NAMES.iter().zip(args) {
            context.add_variable_from_value(*name, value.clone());
        }
        let method = target.is_some();
        if let Some(value) = target {
            context.add_variable_from_value(TARGET, value);
        }
        // A function with a dot in its name is looked up under its target's name.
        let (func_name, target) = match (method, function.rsplit_once('.')) {
            (false, Some((space, name))) => (name, Some(Box::new(variable(space)))),
            (true, _) => (function, Some(Box::new(variable(TARGET)))),
            (false, None) => (function, None),
        };
        let args = NAMES.iter().take(args.len()).map(|name| variable(name)).collect();
        let call = CallExpr { func_name: func_name.to_owned(), target, args };
        let expr = IdedExpr { id: 0, expr: Expr::Call(call) };
        // The libraries count without looking for overflow here and there.
        catch_unwind(AssertUnwindSafe(|| context.resolve(&expr)))
            .map_err(|_| "no such overload".to_owned())?
            .map_err(|error| sentence(&error))
    })
}

fn sentence(error: &ExecutionError) -> String {
    match error {
        ExecutionError::FunctionError { message, .. } => message.clone(),
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        _ => "no such overload".to_owned(),
    }
}
