//! Which rooms this process runs.

use std::collections::BTreeSet;

use thiserror::Error;

/// One role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Store, objects and API server.
    Api,
    /// Every controller that is switched on.
    Controllers,
    /// The scheduler.
    Scheduler,
    /// Runs pods.
    Node,
    /// HTTP from outside to Services.
    Ingress,
}

impl Role {
    const ALL: [(&'static str, Self); 5] = [
        ("api", Self::Api),
        ("controllers", Self::Controllers),
        ("scheduler", Self::Scheduler),
        ("node", Self::Node),
        ("ingress", Self::Ingress),
    ];

    /// The role's name on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, role)| *role == self).map_or("", |(name, _)| *name)
    }
}

/// A list of roles that names none, or one that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RoleError {
    /// Not a role.
    #[error("there is no role {0:?}; choose from api, controllers, scheduler, node, ingress")]
    Unknown(String),
    /// Nothing to run.
    #[error("no role is left to run; choose from api, controllers, scheduler, node, ingress")]
    None,
}

/// The roles of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Default for Roles {
    fn default() -> Self {
        Self(Role::ALL.iter().map(|(_, role)| *role).collect())
    }
}

impl Roles {
    /// Reads names as `--roles` has them.
    ///
    /// # Errors
    /// When a name is no role, or there is none.
    pub fn parse(names: &[String]) -> Result<Self, RoleError> {
        let mut roles = BTreeSet::new();
        for name in names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            let known = Role::ALL.iter().find(|(known, _)| *known == name);
            roles.insert(known.ok_or_else(|| RoleError::Unknown(name.to_owned()))?.1);
        }
        if roles.is_empty() { Err(RoleError::None) } else { Ok(Self(roles)) }
    }

    /// Whether this process has the role.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_on_the_command_line() {
        let parse = |text: &str| Roles::parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        assert!(parse("api, node").is_ok_and(|roles| roles.has(Role::Node) && !roles.has(Role::Ingress)));
        assert_eq!(parse("api,worker"), Err(RoleError::Unknown("worker".into())));
        assert_eq!(parse(","), Err(RoleError::None));
    }
}
