//! The variables of admission's expressions, and their types.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cel::{CompileError, ObjectType, Program, Type};

/// What expressions are compiled for.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: Vec<(String, Type)>,
    composed: BTreeMap<String, Type>,
    composes: bool,
}

/// Whose expressions they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A webhook's match conditions.
    Webhook,
    /// A policy's, with `params` or without.
    Policy {
        /// Whether the policy has a `paramKind`.
        params: bool,
    },
}

/// What `authorizer` is.
const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";

fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Type)>) -> Type {
    let fields = fields.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields }))
}

fn texts() -> Type {
    Type::List(Arc::new(Type::text()), u64::MAX)
}

fn request() -> Type {
    let kind = || {
        let fields = ["group", "version", "kind"].map(|field| (field, Type::text()));
        object("kubernetes.GroupVersionKind", fields)
    };
    let resource = || {
        let fields = ["group", "version", "resource"].map(|field| (field, Type::text()));
        object("kubernetes.GroupVersionResource", fields)
    };
    let extra = Type::Map(Arc::new(Type::text()), Arc::new(texts()), u64::MAX);
    let user = object(
        "kubernetes.UserInfo",
        [("username", Type::text()), ("uid", Type::text()), ("groups", texts()), ("extra", extra)],
    );
    let text =
        ["subResource", "requestSubResource", "name", "namespace", "operation"].map(|field| (field, Type::text()));
    let others = [
        ("kind", kind()),
        ("resource", resource()),
        ("requestKind", kind()),
        ("requestResource", resource()),
        ("userInfo", user),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ];
    object("kubernetes.AdmissionRequest", text.into_iter().chain(others))
}

impl Environment {
    /// What such an expression can name.
    pub fn new(purpose: Purpose) -> Self {
        let mut variables = vec![
            ("object".to_owned(), Type::Dyn),
            ("oldObject".to_owned(), Type::Dyn),
            ("request".to_owned(), request()),
            ("authorizer".to_owned(), Type::Opaque(AUTHORIZER)),
        ];
        if let Purpose::Policy { params } = purpose {
            variables.push(("namespaceObject".to_owned(), Type::Dyn));
            if params {
                variables.push(("params".to_owned(), Type::Dyn));
            }
        }
        Self { variables, composed: BTreeMap::new(), composes: matches!(purpose, Purpose::Policy { .. }) }
    }

    /// The same with another type for one of the variables.
    #[must_use]
    pub fn typed(mut self, name: &str, kind: &Type) -> Self {
        for (_, own) in self.variables.iter_mut().filter(|(own, _)| own == name) {
            own.clone_from(kind);
        }
        self
    }

    /// Later expressions may name `variables.NAME`, which `program` gives.
    pub fn add(&mut self, name: &str, kind: &Type) {
        self.composed.insert(name.to_owned(), kind.clone());
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(&self, source: &str, expected: Type) -> Result<Program, CompileError> {
        let mut known: Vec<(&str, Type)> =
            self.variables.iter().map(|(name, kind)| (name.as_str(), kind.clone())).collect();
        if self.composes {
            let composed = ObjectType { name: "kubernetes.variables".to_owned(), fields: self.composed.clone() };
            known.push(("variables", Type::Object(Arc::new(composed))));
        }
        Program::compile_typed(source, &known, expected)
    }
}
