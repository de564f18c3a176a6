//! Kubernetes' `--authorization-mode`: which authorizers are asked, and in which order.

use std::sync::Arc;

use api::{AccessRequest, UserInfo};
use async_trait::async_trait;
use objects::Objects;
use thiserror::Error;

use super::{Authorizer, Decision, NodeAuthorizer, Rbac, Rule, Union};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Node,
    Rbac,
    AlwaysAllow,
    AlwaysDeny,
}

const NAMES: [(&str, Mode); 4] =
    [("Node", Mode::Node), ("RBAC", Mode::Rbac), ("AlwaysAllow", Mode::AlwaysAllow), ("AlwaysDeny", Mode::AlwaysDeny)];

/// A list of authorizers that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModeError {
    /// There is none of this name.
    #[error("there is no authorization mode {0:?}; choose from Node, RBAC, AlwaysAllow, AlwaysDeny")]
    Unknown(String),
    /// Nobody would decide.
    #[error("no authorization mode is left; choose from Node, RBAC, AlwaysAllow, AlwaysDeny")]
    None,
}

/// The authorizers that are asked, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes(Vec<Mode>);

impl Default for Modes {
    fn default() -> Self {
        Self(vec![Mode::Node, Mode::Rbac])
    }
}

impl Modes {
    /// Reads names as `--authorization-mode` has them.
    ///
    /// # Errors
    /// When a name is no mode, or there is none.
    pub fn parse(names: &[String]) -> Result<Self, ModeError> {
        let names = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let found = |name: &str| NAMES.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode);
        let modes: Vec<Mode> = names
            .map(|name| found(name).ok_or_else(|| ModeError::Unknown(name.to_owned())))
            .collect::<Result<_, _>>()?;
        if modes.is_empty() { Err(ModeError::None) } else { Ok(Self(modes)) }
    }

    /// The authorizers themselves, over `objects`.
    pub fn union(&self, objects: &Objects, rbac: &Rbac) -> Union {
        let make = |mode: &Mode| -> Arc<dyn Authorizer> {
            match mode {
                Mode::Node => Arc::new(NodeAuthorizer::new(objects)),
                Mode::Rbac => Arc::new(rbac.clone()),
                Mode::AlwaysAllow => Arc::new(Always(Decision::Allow(String::new()))),
                Mode::AlwaysDeny => Arc::new(Always(Decision::NoOpinion("Everything is forbidden.".to_owned()))),
            }
        };
        Union::new(self.0.iter().map(make).collect())
    }
}

/// Says the same whatever it is asked.
struct Always(Decision);

#[async_trait]
impl Authorizer for Always {
    async fn authorize(&self, _request: &AccessRequest) -> Decision {
        self.0.clone()
    }

    async fn rules(&self, _user: &UserInfo, _namespace: &str) -> (Vec<Rule>, bool) {
        if !self.0.is_allowed() {
            return (Vec::new(), true);
        }
        let all = || vec!["*".to_owned()];
        let everything = Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() };
        (vec![everything, Rule { verbs: all(), paths: all(), ..Rule::default() }], true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_on_the_command_line() {
        let parse = |text: &str| Modes::parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("Node,RBAC"), Ok(Modes::default()));
        assert_eq!(parse("RBAC, AlwaysAllow"), Ok(Modes(vec![Mode::Rbac, Mode::AlwaysAllow])));
        assert_eq!(parse("rbac"), Err(ModeError::Unknown("rbac".to_owned())));
        assert_eq!(parse(","), Err(ModeError::None));
    }
}
