//! What a component shows of how it compiles, before it does.
//!
//! A compiler's time and memory grow faster than a function: by what is alive at each turn of its control flow, which an author
//! who means harm brings to hours in fifty kilobytes. Whoever compiles in a thread cannot stop it. So only what is plain goes
//! there; a guess that is too careful costs the start of a process.

use wasmparser::{FunctionBody, Operator, Parser, Payload};

/// What is larger is not looked at.
pub(super) const BYTES_MAX: u64 = 1 << 20;
/// Locals times places where control flow meets, squared and summed over the functions: what the samples of this size come to
/// and as much again, at worst some three seconds.
const COST_MAX: u64 = 3_000_000_000;
/// What one function may have.
const BODY_BYTES_MAX: usize = 128 << 10;
/// Parameters and results of a type: each call and each jump moves them.
const ARITY_MAX: usize = 32;

/// Whether a component is small, is not put together of others, and has no function that is much work.
pub(super) fn is_simple(component: &[u8]) -> bool {
    component.len() as u64 <= BYTES_MAX && cost(component).is_some_and(|cost| cost <= COST_MAX)
}

/// `None` for what is not to be told by its functions.
fn cost(component: &[u8]) -> Option<u64> {
    let (mut cost, mut nested) = (0u64, 0usize);
    for payload in Parser::new(0).parse_all(component) {
        match payload.ok()? {
            Payload::ComponentSection { .. } => nested += 1,
            Payload::End(_) => nested = nested.saturating_sub(1),
            // Calls between components are code of their own, as large as their types are.
            Payload::ModuleSection { .. } if nested > 0 => return None,
            // A module ends as a component does.
            Payload::ModuleSection { .. } => nested += 1,
            Payload::TypeSection(types) => {
                for group in types {
                    let wide = |kind: wasmparser::SubType| match kind.composite_type.inner {
                        wasmparser::CompositeInnerType::Func(function) => {
                            function.params().len() + function.results().len() > ARITY_MAX
                        }
                        _ => false,
                    };
                    if group.ok()?.into_types().any(wide) {
                        return None;
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let one = cost_of(&body)?;
                cost = cost.saturating_add(one.saturating_mul(one));
            }
            _ => {}
        }
    }
    Some(cost)
}

fn cost_of(body: &FunctionBody) -> Option<u64> {
    if body.range().len() > BODY_BYTES_MAX {
        return None;
    }
    let mut locals = ARITY_MAX as u64;
    for group in body.get_locals_reader().ok()? {
        locals = locals.saturating_add(u64::from(group.ok()?.0));
    }
    let mut meetings = 1u64;
    for operator in body.get_operators_reader().ok()? {
        meetings = meetings.saturating_add(match operator.ok()? {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => 1,
            Operator::BrTable { targets } => u64::from(targets.len()),
            _ => 0,
        });
    }
    Some(locals.saturating_mul(meetings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(locals: usize, loops: usize) -> String {
        let touch: String = (0..locals).map(|local| format!("(local.set {local} (i32.const 1))")).collect();
        let (begin, end) = ("loop ".repeat(loops), "end ".repeat(loops));
        format!("(core module (func (local {}) {begin} {touch} {end}))", "i32 ".repeat(locals))
    }

    #[test]
    fn what_could_take_long_is_not_simple() {
        let wide = format!("(core module (type (func (param {}))))", "i32 ".repeat(100));
        let large = format!("(core module (func {}))", "(drop (i32.const 1))".repeat(60_000));
        let table = format!("(core module (func (br_table {} (i32.const 0))))", "0 ".repeat(50_000));
        for (parts, simple) in [
            (function(50, 50), true),
            (format!("{} (component)", function(50, 50)), true),
            (function(500, 5000), false),
            (function(400, 30).repeat(40), false),
            (format!("(component {})", function(1, 1)), false),
            (wide, false),
            (large, false),
            (table, false),
        ] {
            let component = wat::parse_str(format!("(component {parts})")).unwrap();
            assert_eq!(is_simple(&component), simple, "{}", &parts[..parts.len().min(60)]);
        }
        assert!(!is_simple(b"nothing"));
    }

    #[test]
    fn ordinary_programs_are() {
        for name in ["hello", "hello3", "gateway", "chaos", "c", "assemblyscript"] {
            let path = format!("{}/../../workloads/prebuilt/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
            assert!(is_simple(&std::fs::read(path).unwrap()), "{name}");
        }
    }
}
