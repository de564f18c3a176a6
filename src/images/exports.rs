//! What a component offers, as its own bytes say.

use wasmparser::{Parser, Payload};

/// The names that a component exports. What is damaged exports what comes before the damage.
pub fn exports(component: &[u8]) -> Vec<String> {
    let mut depth = 0usize;
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 0 => {
                found.extend(section.into_iter().map_while(Result::ok).map(|export| export.name.name.to_owned()));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_the_whole_exports_counts() {
        let text = r#"(component
            (component (component) (export "inner" (component 0)))
            (core module (func (export "f")))
            (component $outer)
            (export "a:b/c@1.0.0" (component $outer)))"#;
        assert_eq!(super::exports(&wat::parse_str(text).unwrap()), ["a:b/c@1.0.0"]);
        assert!(super::exports(b"\0asm broken").is_empty());
    }
}
