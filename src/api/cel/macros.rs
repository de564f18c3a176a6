//! Calls that are not calls: `has`, `all`, `exists`, `map`, `filter` and their like.

use super::ast::{Expr, Fold, Node, Shape};
use super::lexer::Fault;

/// `has(a.b)` or a call.
pub(crate) fn global(at: usize, function: String, mut args: Vec<Expr>) -> Result<Node, Fault> {
    if function == "has" && args.len() == 1 {
        let arg = args.remove(0);
        return match arg.node {
            Node::Select { of, field, optional: false } => Ok(Node::Has { of, field }),
            _ => Err((at, "invalid argument to has() macro".to_owned())),
        };
    }
    Ok(Node::Call { function, target: None, args })
}

/// `target.function(args)`
pub(crate) fn member(at: usize, target: Expr, function: String, mut args: Vec<Expr>) -> Result<Node, Fault> {
    let bind = function == "bind" && args.len() == 3 && matches!(&target.node, Node::Ident(name) if name == "cel");
    if bind {
        let mut parts = args.into_iter();
        let (Some(name), Some(value), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            return Err((at, "cel.bind() takes a name, a value and an expression".to_owned()));
        };
        let name = variable(&name)?;
        return Ok(Node::Bind { name, value: Box::new(value), body: Box::new(body) });
    }
    let Some((shape, variables, filtered)) = shape(&function, args.len()) else {
        return Ok(Node::Call { function, target: Some(Box::new(target)), args });
    };
    let body = args.pop().ok_or((at, "a macro without arguments".to_owned()))?;
    let filter = if filtered { args.pop() } else { None };
    let mut names = args.iter().map(variable);
    let first = names.next().unwrap_or_else(|| Ok(String::new()))?;
    let second = if variables == 2 { names.next().transpose()? } else { None };
    if second.as_ref() == Some(&first) {
        return Err((at, "duplicate variable name".to_owned()));
    }
    Ok(Node::Fold(Box::new(Fold { shape, range: target, first, second, filter, body })))
}

/// What a macro does, how many variables it has, and whether the argument before the last is a filter.
fn shape(function: &str, args: usize) -> Option<(Shape, usize, bool)> {
    Some(match (function, args) {
        ("all", 2) => (Shape::All, 1, false),
        ("exists", 2) => (Shape::Exists, 1, false),
        ("exists_one" | "existsOne", 2) => (Shape::ExistsOne, 1, false),
        ("filter", 2) => (Shape::Filter, 1, false),
        ("map", 2) => (Shape::Map, 1, false),
        ("map", 3) => (Shape::Map, 1, true),
        ("sortBy", 2) => (Shape::SortBy, 1, false),
        ("optMap", 2) => (Shape::OptMap, 1, false),
        ("optFlatMap", 2) => (Shape::OptFlatMap, 1, false),
        ("all", 3) => (Shape::All, 2, false),
        ("exists", 3) => (Shape::Exists, 2, false),
        ("exists_one" | "existsOne", 3) => (Shape::ExistsOne, 2, false),
        ("transformList", 3) => (Shape::Map, 2, false),
        ("transformList", 4) => (Shape::Map, 2, true),
        ("transformMap", 3) => (Shape::TransformMap, 2, false),
        ("transformMap", 4) => (Shape::TransformMap, 2, true),
        ("transformMapEntry", 3) => (Shape::TransformMapEntry, 2, false),
        ("transformMapEntry", 4) => (Shape::TransformMapEntry, 2, true),
        _ => return None,
    })
}

fn variable(expr: &Expr) -> Result<String, Fault> {
    match &expr.node {
        Node::Ident(name) => Ok(name.clone()),
        _ => Err((expr.at, "argument must be a simple name".to_owned())),
    }
}
