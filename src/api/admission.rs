//! The expressions of webhook configurations and admission policies: what they can name, and what is wrong with them.

mod applying;
mod environment;
#[cfg(test)]
mod tests;
mod types;
mod validation;

pub use applying::apply_configuration;
pub use environment::{Environment, Purpose};
pub use types::type_of;
pub use validation::{match_conditions, mutating_policy, validating_policy, webhooks};
