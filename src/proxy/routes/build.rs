//! From Ingresses and IngressClasses to a route table.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressRule, IngressSpec,
};
use network::PortRef;

use super::{Backend, RouteTable};
use crate::class;

/// A table, and whose it is.
#[derive(Debug, Default)]
pub struct Built {
    /// The table.
    pub table: RouteTable,
    /// The Ingresses that are in it.
    pub served: Vec<Arc<Ingress>>,
}

/// The table of all Ingresses that are ours to serve.
pub fn build(ingresses: &[Arc<Ingress>], classes: &[Arc<IngressClass>]) -> Built {
    let mut served: Vec<_> = ingresses.iter().filter(|ingress| is_served(ingress, classes)).cloned().collect();
    // The older of two keeps what both claim, whatever order they come in.
    served.sort_by(|one, other| age(one).cmp(&age(other)));
    let mut table = RouteTable::default();
    for ingress in &served {
        add(&mut table, ingress);
    }
    Built { table, served }
}

/// Whether an Ingress is ours: by its class, by the older annotation, or because it has none and our class is the default.
pub fn is_served(ingress: &Ingress, classes: &[Arc<IngressClass>]) -> bool {
    let ours = |name: &str| match classes.iter().find(|class| class.metadata.name.as_deref() == Some(name)) {
        Some(class) => class::is_ours(class),
        None => name == class::NAME,
    };
    let spec_class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    let annotations = ingress.metadata.annotations.as_ref();
    let annotation = annotations.and_then(|all| all.get(class::LEGACY_ANNOTATION)).map(String::as_str);
    match spec_class.or(annotation) {
        Some(name) => ours(name),
        None => classes.iter().any(|class| class::is_ours(class) && class::is_default(class)),
    }
}

fn age(ingress: &Ingress) -> impl Ord {
    let metadata = &ingress.metadata;
    // An object without a creation time has not been created yet: the youngest.
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
    (created.is_none(), created, metadata.namespace.clone(), metadata.name.clone())
}

fn add(table: &mut RouteTable, ingress: &Ingress) {
    let Some(spec) = &ingress.spec else { return };
    let maker = BackendMaker::of(ingress);
    let default = spec.default_backend.as_ref().and_then(|backend| maker.backend(backend));
    for rule in spec.rules.iter().flatten() {
        add_rule(table, rule, &maker, default.as_ref());
    }
    add_default(table, spec, default);
}

fn add_rule(table: &mut RouteTable, rule: &IngressRule, maker: &BackendMaker, default: Option<&Arc<Backend>>) {
    let paths = table.paths_mut(rule.host.as_deref());
    for path in rule.http.iter().flat_map(|http| &http.paths) {
        if let Some(backend) = maker.backend(&path.backend) {
            add_path(paths, path, backend);
        }
    }
    if paths.default.is_none() && rule.host.as_deref().is_some_and(|host| !host.is_empty()) {
        paths.default = default.cloned();
    }
}

fn add_path(paths: &mut super::Paths, path: &HTTPIngressPath, backend: Arc<Backend>) {
    let text = path.path.as_deref().filter(|text| !text.is_empty()).unwrap_or("/");
    match path.path_type.as_str() {
        "Exact" => paths.add_exact(text, backend),
        // ImplementationSpecific is ours to define: it is Prefix.
        _ => paths.add_prefix(text, backend),
    }
}

fn add_default(table: &mut RouteTable, spec: &IngressSpec, default: Option<Arc<Backend>>) {
    let Some(default) = default else { return };
    // An Ingress without rules stands for everything; one with rules gives what its own hosts leave over, and what
    // nobody else wants.
    let has_rules = spec.rules.as_ref().is_some_and(|rules| !rules.is_empty());
    if !has_rules && table.any.default.is_none() {
        table.any.default = Some(Arc::clone(&default));
    }
    table.default.get_or_insert(default);
}

/// `namespace/name`
pub(crate) fn key_of(ingress: &Ingress) -> String {
    let (namespace, name) = (ingress.metadata.namespace.as_deref(), ingress.metadata.name.as_deref());
    format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
}

struct BackendMaker {
    namespace: String,
    ingress: String,
}

impl BackendMaker {
    fn of(ingress: &Ingress) -> Self {
        Self { namespace: ingress.metadata.namespace.clone().unwrap_or_default(), ingress: key_of(ingress) }
    }

    /// None for a backend that is no Service: the API allows other resources, which nothing here can serve.
    fn backend(&self, backend: &IngressBackend) -> Option<Arc<Backend>> {
        let service = backend.service.as_ref()?;
        let port = service.port.as_ref();
        let by_name = port.and_then(|port| port.name.as_deref()).filter(|name| !name.is_empty());
        let by_number = port.and_then(|port| port.number).and_then(|number| u16::try_from(number).ok());
        let port = match by_name {
            Some(name) => PortRef::Name(name.into()),
            None => PortRef::Number(by_number.unwrap_or_default()),
        };
        let service = format!("{}/{}", self.namespace, service.name);
        Some(Arc::new(Backend { service, port, ingress: self.ingress.clone() }))
    }
}
