"""Kubernetes' Python client against a whole cluster. Speaks through its exit code; prints what it is at."""

import sys
import time

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

config.load_kube_config()
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
SPACE = "python"


def step(text):
    print("python:", text, flush=True)


def until(what, found):
    for _ in range(600):
        value = found()
        if value:
            return value
        time.sleep(0.05)
    sys.exit(f"never: {what}")


def refused(code, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except ApiException as error:
        assert error.status == code, (error.status, error.body)
        return error
    sys.exit(f"not refused with {code}")


def container(image, **more):
    return {"name": "main", "image": f"coracle.local/{image}", **more}


step("version and namespaces")
assert client.VersionApi().get_code().major == "1"
core.create_namespace({"metadata": {"name": SPACE}})
assert SPACE in [item.metadata.name for item in core.list_namespace().items]

step("typed objects")
core.create_namespaced_config_map(SPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="one"), data={"a": "1"}))
core.patch_namespaced_config_map("one", SPACE, {"data": {"b": "2"}})
found = core.read_namespaced_config_map("one", SPACE)
assert found.data == {"a": "1", "b": "2"}
found.data = {"c": "3"}
core.replace_namespaced_config_map("one", SPACE, found)
refused(409, core.replace_namespaced_config_map, "one", SPACE, found)
refused(409, core.create_namespaced_config_map, SPACE, {"metadata": {"name": "one"}})
refused(422, core.create_namespaced_config_map, SPACE, {"metadata": {"name": "No Name"}})
core.delete_namespaced_config_map("one", SPACE)
refused(404, core.read_namespaced_config_map, "one", SPACE)

step("a pod, its log, a port")
core.create_namespaced_pod(SPACE, {
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {"containers": [container("hello", ports=[{"containerPort": 80}])]},
})
until("the pod runs", lambda: core.read_namespaced_pod("web", SPACE).status.phase == "Running")
forward = portforward(core.connect_get_namespaced_pod_portforward, "web", SPACE, ports="80")
socket = forward.socket(80)
socket.setblocking(True)
socket.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
answer = b""
while True:
    part = socket.recv(4096)
    if not part:
        break
    answer += part
assert answer.startswith(b"HTTP/1.1 200"), answer
assert isinstance(core.read_namespaced_pod_log("web", SPACE), str)
proxied = core.connect_get_namespaced_pod_proxy("web", SPACE)
assert proxied, "the proxy answers"
gone = core.delete_namespaced_pod("web", SPACE, grace_period_seconds=0)
assert gone.kind in ("Pod", None) and gone.metadata.name == "web"

step("exec is refused in words where there is no command")
core.create_namespaced_pod(SPACE, {"metadata": {"name": "quiet"}, "spec": {"containers": [container("hello")]}})
until("the pod runs", lambda: core.read_namespaced_pod("quiet", SPACE).status.phase == "Running")
try:
    stream(core.connect_get_namespaced_pod_exec, "quiet", SPACE, command=["ls"], stdout=True, stderr=True)
except ApiException as error:
    assert error.status in (0, 500), error

step("deployments, and a watch that sees them")
apps.create_namespaced_deployment(SPACE, {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "deployed"}},
        "template": {"metadata": {"labels": {"app": "deployed"}}, "spec": {"containers": [container("hello")]}},
    },
})
for event in watch.Watch().stream(apps.list_namespaced_deployment, SPACE, timeout_seconds=60):
    if (event["object"].status.ready_replicas or 0) == 2:
        break
else:
    sys.exit("never: two replicas")
apps.patch_namespaced_deployment_scale("web", SPACE, {"spec": {"replicas": 1}})
assert apps.read_namespaced_deployment_scale("web", SPACE).spec.replicas == 1
apps.delete_namespaced_deployment("web", SPACE, propagation_policy="Foreground")

step("a job")
batch.create_namespaced_job(SPACE, {
    "metadata": {"name": "sum"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container("batch")]}}},
})
until("the job is complete", lambda: batch.read_namespaced_job_status("sum", SPACE).status.succeeded == 1)
batch.delete_namespaced_job("sum", SPACE, propagation_policy="Background")

step("manifests")
utils.create_from_dict(client.ApiClient(), {
    "apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc"}, "spec": {"ports": [{"port": 80}]}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"a": "b"}},
    ],
}, namespace=SPACE)
assert core.read_namespaced_service("svc", SPACE).spec.cluster_ip

step("definitions and their objects")
client.ApiextensionsV1Api().create_custom_resource_definition({
    "metadata": {"name": "toys.python.example"},
    "spec": {
        "group": "python.example", "scope": "Namespaced",
        "names": {"plural": "toys", "singular": "toy", "kind": "Toy"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        }}}],
    },
})
custom = client.CustomObjectsApi()
toy = {"apiVersion": "python.example/v1", "kind": "Toy", "metadata": {"name": "car"}, "spec": {"n": 1}}
at = ("python.example", "v1", SPACE, "toys")


def made():
    try:
        return custom.create_namespaced_custom_object(*at, toy)
    except ApiException as error:
        assert error.status == 404, error
        return None


until("the kind is served", made)
refused(422, custom.create_namespaced_custom_object, *at, {**toy, "metadata": {"name": "bad"}, "spec": {"n": "x"}})
custom.patch_namespaced_custom_object(*at, "car", {"spec": {"n": 2}})
assert custom.get_namespaced_custom_object(*at, "car")["spec"]["n"] == 2

step("the dynamic client, and server-side apply")
dyn = dynamic.DynamicClient(client.ApiClient())
maps = dyn.resources.get(api_version="v1", kind="ConfigMap")
wish = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied", "namespace": SPACE}, "data": {"a": "1"}}
maps.server_side_apply(body=wish, namespace=SPACE, field_manager="one")
wish["data"] = {"a": "2"}
try:
    maps.server_side_apply(body=wish, namespace=SPACE, field_manager="two")
    sys.exit("no conflict")
except dynamic.exceptions.ConflictError as error:
    assert "FieldManagerConflict" in str(error), error
maps.server_side_apply(body=wish, namespace=SPACE, field_manager="two", force_conflicts=True)
assert maps.get(name="applied", namespace=SPACE).data.a == "2"
assert dyn.resources.get(api_version="python.example/v1", kind="Toy").get(namespace=SPACE).items

step("pages, and who may do what")
for number in range(12):
    core.create_namespaced_config_map(SPACE, {"metadata": {"name": f"page-{number}", "labels": {"page": "yes"}}})
names, token = [], None
while True:
    page = core.list_namespaced_config_map(SPACE, label_selector="page=yes", limit=5, _continue=token)
    names += [item.metadata.name for item in page.items]
    token = page.metadata._continue
    if not token:
        break
assert len(names) == 12 and len(set(names)) == 12
review = client.AuthorizationV1Api().create_self_subject_access_review(
    {"spec": {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}})
assert review.status.allowed
core.delete_collection_namespaced_config_map(SPACE, label_selector="page=yes")
core.delete_namespace(SPACE)
until("the namespace is gone", lambda: SPACE not in [item.metadata.name for item in core.list_namespace().items])
step("done")
