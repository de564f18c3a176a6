//! The objects that the benches apply.

use serde_json::{Value, json};

/// A workload as it is applied.
#[derive(Clone, Debug)]
pub struct App {
    /// The name of its Deployment, Service and Ingress; its host is `NAME.localhost`.
    pub name: String,
    /// The sample that it runs.
    pub image: &'static str,
    /// How many pods.
    pub replicas: u32,
    /// Whether instances answer more than one request.
    pub reuse: bool,
    /// What it is told in its environment.
    pub env: Vec<(&'static str, &'static str)>,
    /// What it is told as its arguments.
    pub args: Vec<&'static str>,
}

impl App {
    /// One pod of a sample.
    pub fn new(name: &str, image: &'static str) -> Self {
        Self { name: name.to_owned(), image, replicas: 1, reuse: false, env: Vec::new(), args: Vec::new() }
    }

    /// The host that its Ingress serves.
    pub fn host(&self) -> String {
        format!("{}.localhost", self.name)
    }

    /// Where each of its objects is created, and what it is.
    pub fn objects(&self) -> [(&'static str, Value); 3] {
        [
            ("/apis/apps/v1/namespaces/default/deployments", self.deployment()),
            ("/api/v1/namespaces/default/services", self.service()),
            ("/apis/networking.k8s.io/v1/namespaces/default/ingresses", self.ingress()),
        ]
    }

    /// As `manifests/hello.yaml` has it.
    pub fn deployment(&self) -> Value {
        let name = &self.name;
        let env = self.env.iter().chain(&[("POD_NAME", "bench")]);
        let env: Vec<Value> = env.map(|(name, value)| json!({ "name": name, "value": value })).collect();
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": {
                "replicas": self.replicas,
                "selector": { "matchLabels": { "app": name } },
                "template": {
                    "metadata": {
                        "labels": { "app": name },
                        "annotations": { "coracle.dev/reuse": self.reuse.to_string() },
                    },
                    "spec": { "containers": [{
                        "name": "main",
                        "image": format!("coracle.local/{}", self.image),
                        "imagePullPolicy": "IfNotPresent",
                        "args": self.args,
                        "env": env,
                        "ports": [{ "name": "http", "containerPort": 80 }],
                        "resources": {
                            "requests": { "cpu": "1m", "memory": "4Mi" },
                            "limits": { "memory": "64Mi" },
                        },
                        "readinessProbe": { "httpGet": { "path": "/", "port": "http" } },
                    }] },
                },
            },
        })
    }

    fn service(&self) -> Value {
        let name = &self.name;
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] },
        })
    }

    fn ingress(&self) -> Value {
        let name = &self.name;
        let backend = json!({ "service": { "name": name, "port": { "name": "http" } } });
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": name },
            "spec": { "rules": [{
                "host": self.host(),
                "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] },
            }] },
        })
    }
}

/// A ConfigMap of about 1 KiB.
pub fn config_map(name: &str) -> Value {
    let data = json!({ "text": "x".repeat(1000) });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

/// A pod that no scheduler looks at.
pub fn unscheduled_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "waiting" } },
        "spec": {
            "schedulerName": "nobody",
            "containers": [{ "name": "main", "image": "coracle.local/hello", "ports": [{ "containerPort": 80 }] }],
        },
    })
}

/// A pod of the size that a deployed one has (2.7 KB), which no scheduler looks at.
pub fn waiting_pod(name: &str) -> Value {
    let mut pod = unscheduled_pod(name);
    pod["metadata"]["annotations"] = json!({ "bench/padding": "p".repeat(1200) });
    pod
}

/// A Deployment whose pods no scheduler looks at.
pub fn waiting_deployment(name: &str, replicas: usize) -> Value {
    let pod = unscheduled_pod(name);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": pod["spec"] },
        },
    })
}
