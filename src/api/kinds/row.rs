//! Building a row: what every kind has, and then what this one has besides.

use std::sync::Arc;

use crate::kind::{Form, Plain, Subresource};
use crate::table::default_columns;
use crate::{Behaviour, Column, Kind, Scale, Scope};

/// A row in the making.
pub(crate) struct RowBuilder(Kind);

/// A kind that is stored and served, and nothing besides.
pub(crate) fn row(group: &str, version: &str, kind: &str, plural: &str, scope: Scope) -> RowBuilder {
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    RowBuilder(Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope,
        status: false,
        scale: None,
        verbs: verbs.map(str::to_owned).to_vec(),
        extra_subresources: Vec::new(),
        columns: default_columns(),
        strategic: true,
        form: None,
        custom: None,
        behaviour: Arc::new(Plain),
    })
}

impl RowBuilder {
    /// `po`, `deploy`
    pub(crate) fn short(mut self, names: &[&str]) -> Self {
        self.0.short_names = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }
    /// Listed by `kubectl get all`.
    pub(crate) fn all(mut self) -> Self {
        self.0.categories = vec!["all".to_owned()];
        self
    }
    /// Listed with a group of kinds, as `kubectl get CATEGORY` does.
    pub(crate) fn category(mut self, name: &str) -> Self {
        self.0.categories.push(name.to_owned());
        self
    }
    /// Has `/status`.
    pub(crate) fn status(mut self) -> Self {
        self.0.status = true;
        self
    }
    /// Has `/scale`, at the usual places.
    pub(crate) fn scale(mut self) -> Self {
        self.0.scale = Some(Scale {
            spec_replicas: "/spec/replicas".to_owned(),
            status_replicas: "/status/replicas".to_owned(),
            selector: Some("/spec/selector".to_owned()),
        });
        self
    }
    /// Cannot be deleted by the collection.
    pub(crate) fn without_deletecollection(mut self) -> Self {
        self.0.verbs.retain(|verb| verb != "deletecollection");
        self
    }
    /// Understands these verbs and no other.
    pub(crate) fn only(mut self, verbs: &[&str]) -> Self {
        self.0.verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
        self
    }
    /// A subresource that the server has code for.
    pub(crate) fn subresource(mut self, name: &str, api_version: &str, kind: &str, verbs: &[&str]) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.0.extra_subresources.push(Subresource {
            name: name.to_owned(),
            kind: kind.to_owned(),
            group: group.to_owned(),
            version: version.to_owned(),
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        });
        self
    }
    /// What is printed.
    pub(crate) fn columns(mut self, columns: Vec<Column>) -> Self {
        self.0.columns = columns;
        self
    }
    /// What it does.
    pub(crate) fn behaviour(mut self, behaviour: impl Behaviour) -> Self {
        self.0.behaviour = Arc::new(behaviour);
        self
    }
    /// Stored as objects of another kind.
    pub(crate) fn form(mut self, form: Form) -> Self {
        self.0.form = Some(form);
        self
    }
    /// The row.
    pub(crate) fn build(self) -> Kind {
        self.0
    }
}

/// The verbs of what is reached by HTTP through a pod, a node or a service.
pub(crate) const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];
