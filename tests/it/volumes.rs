//! Volumes as pods see them: what they hold, how they follow their sources, what keeps them in, who pays for them.

use std::path::PathBuf;

use cluster::Config;
use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use crate::kubectl::Kubectl;
use crate::support::{apply_text, pod_until, raw, read, serves, told, with_samples_and};

/// A cluster that is told where to keep what, and what of the host pods may see.
struct House {
    cluster: TestCluster,
    data: tempfile::TempDir,
    free: tempfile::TempDir,
}

impl House {
    async fn start() -> Self {
        let (data, free) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = Config {
            data_dir: Some(data.path().to_owned()),
            allow_host_paths: vec![free.path().to_owned()],
            node_name: Some("here".to_owned()),
            ..Config::default()
        };
        Self { cluster: with_samples_and(&["chaos", "batch"], config).await, data, free }
    }

    /// What the guest of a pod answers.
    async fn ask(&self, pod: &str, path: &str) -> String {
        self.cluster.get(&format!("{pod}.localhost"), &format!("/volume/{path}")).await.text
    }

    /// A pod of the neighbour that does with files what it is asked to, reached at NAME.localhost.
    async fn pod(&self, name: &str, volumes: &str, mounts: &str, more: &str) {
        self.apply(&pod(name, volumes, mounts, more)).await;
        serves(&self.cluster, &format!("{name}.localhost"), "/").await;
    }

    async fn apply(&self, text: &str) {
        apply_text(&self.cluster, text).await.unwrap();
    }

    /// Where the volumes of a pod lie on the host.
    async fn folder_of(&self, pod: &str) -> PathBuf {
        let uid =
            pod_until(&self.cluster, pod, "uid", |pod| Some(pod.pointer("/metadata/uid")?.as_str()?.to_owned())).await;
        self.data.path().join("node/volumes").join(uid)
    }

    async fn patch(&self, path: &str, change: Value) {
        let (status, told) =
            raw(&self.cluster, http::Method::PATCH, path, "application/merge-patch+json", change.to_string()).await;
        assert!(status.is_success(), "{told}");
    }

    async fn delete(&self, path: &str) {
        let (status, told) = raw(&self.cluster, http::Method::DELETE, path, "application/json", "").await;
        assert!(status.is_success(), "{told}");
    }

    async fn gone(&self, path: &str) {
        eventually(&format!("{path} is gone"), async || read(&self.cluster, path).await.is_none().then_some(())).await;
    }
}

fn pod(name: &str, volumes: &str, mounts: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, labels: {{ app: {name}, tier: one }} }}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{volumes}]
  containers:
    - name: main
      image: coracle.local/chaos
      imagePullPolicy: IfNotPresent
      ports: [{{ name: http, containerPort: 80 }}]
      env: [{{ name: WHERE, value: part }}]
      volumeMounts: [{mounts}]
      {more}
---
apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec: {{ selector: {{ app: {name} }}, ports: [{{ port: 80, targetPort: http }}] }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: {name} }}
spec:
  rules:
    - host: {name}.localhost
      http: {{ paths: [{{ path: /, pathType: Prefix, backend: {{ service: {{ name: {name}, port: {{ number: 80 }} }} }} }}] }}
"#
    )
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

#[tokio::test(flavor = "multi_thread")]
async fn volumes_hold_what_they_name_and_follow_it() {
    let house = House::start().await;
    let sources = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: map }\ndata: { color: red, size: big }\n---\n\
                   apiVersion: v1\nkind: Secret\nmetadata: { name: keys }\nstringData: { word: hush }\n---\n\
                   apiVersion: v1\nkind: ConfigMap\nmetadata: { name: fixed }\nimmutable: true\ndata: { a: '1' }\n";
    house.apply(sources).await;
    std::fs::create_dir(house.free.path().join("given")).unwrap();
    std::fs::write(house.free.path().join("given/note"), "from the host").unwrap();
    let host = house.free.path().join("given").display().to_string();
    let volumes = format!(
        "{{ name: map, configMap: {{ name: map }} }}, {{ name: keys, secret: {{ secretName: keys, defaultMode: 0400 }} }},
         {{ name: all, projected: {{ sources: [{{ configMap: {{ name: fixed }} }}, {{ downwardAPI: {{ items: [
           {{ path: tier, fieldRef: {{ fieldPath: \"metadata.labels['tier']\" }} }}] }} }},
           {{ serviceAccountToken: {{ path: token, expirationSeconds: 600 }} }}] }} }},
         {{ name: maybe, configMap: {{ name: later, optional: true }} }},
         {{ name: scratch, emptyDir: {{}} }}, {{ name: host, hostPath: {{ path: '{host}', type: Directory }} }}"
    );
    let mounts = "{ name: map, mountPath: /map }, { name: keys, mountPath: /keys }, { name: all, mountPath: /all },
        { name: maybe, mountPath: /maybe }, { name: scratch, mountPath: /scratch },
        { name: scratch, mountPath: /part, subPathExpr: 'of/$(WHERE)' }, { name: host, mountPath: /host, readOnly: true },
        { name: map, mountPath: /etc/app/color, subPath: color }";
    house.pod("reader", &volumes, mounts, "").await;
    let says = async |path: &str| house.ask("reader", &format!("read?path={path}")).await;
    for (path, text) in [
        ("/map/color", "red"),
        ("/map/size", "big"),
        ("/keys/word", "hush"),
        ("/all/a", "1"),
        ("/all/tier", "one"),
        ("/host/note", "from the host"),
        ("/etc/app/color", "red"),
    ] {
        assert_eq!(says(path).await, text, "{path}");
    }
    assert!(says("/all/token").await.split('.').count() == 3);
    assert_eq!(house.ask("reader", "write?path=/scratch/a&text=1").await, "written\n");
    assert_eq!(house.ask("reader", "write?path=/part/b&text=2").await, "written\n");
    assert_eq!(says("/scratch/of/part/b").await, "2");
    for path in ["/map/color", "/host/note", "/etc/app/color", "/map/new"] {
        let told = house.ask("reader", &format!("write?path={path}&text=x")).await;
        assert!(told.starts_with("error"), "{path}: {told}");
    }
    // Sources change: volumes follow, what was mounted as one file does not.
    house
        .patch("/api/v1/namespaces/default/configmaps/map", json!({ "data": { "color": "blue", "size": null } }))
        .await;
    house.patch("/api/v1/namespaces/default/secrets/keys", json!({ "stringData": { "word": "louder" } })).await;
    house.patch(&format!("{PODS}/reader"), json!({ "metadata": { "labels": { "tier": "two" } } })).await;
    house.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: later }\ndata: { late: 'yes' }\n").await;
    for (path, text) in [("/map/color", "blue"), ("/keys/word", "louder"), ("/all/tier", "two"), ("/maybe/late", "yes")]
    {
        eventually(&format!("{path} is {text}"), async || (says(path).await == text).then_some(())).await;
    }
    assert!(says("/map/size").await.starts_with("error"));
    assert_eq!(says("/etc/app/color").await, "red");
    // What cannot be mounted waits, and says why.
    for (name, volume, text) in [
        (
            "lost",
            "configMap: { name: none }",
            "MountVolume.SetUp failed for volume \"v\" : configmap \"none\" not found",
        ),
        ("outside", "hostPath: { path: /etc }", "--allow-host-path=/etc"),
        ("strange", "nfs: { server: a, path: /b }", "not offered"),
    ] {
        house.apply(&pod(name, &format!("{{ name: v, {volume} }}"), "{ name: v, mountPath: /v }", "")).await;
        told(&house.cluster, name, "FailedMount", text).await;
    }
    // With its pod a volume goes, and what the host lent stays.
    let folder = house.folder_of("reader").await;
    assert!(folder.is_dir());
    house.delete(&format!("{PODS}/reader")).await;
    eventually("its volumes are gone", async || (!folder.exists()).then_some(())).await;
    assert!(house.free.path().join("given/note").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_out_of_a_volume_or_holds_more_than_he_may() {
    let house = House::start().await;
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: kept }\nspec:\n  \
                 accessModes: [ReadWriteOnce]\n  resources: { requests: { storage: 1Gi } }\n";
    house.apply(claim).await;
    let shared = house.free.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(house.free.path().join("bait"), "outside").unwrap();
    let volumes = format!(
        "{{ name: empty, emptyDir: {{}} }}, {{ name: host, hostPath: {{ path: '{}' }} }},
         {{ name: claim, persistentVolumeClaim: {{ claimName: kept }} }}",
        shared.display()
    );
    let mounts = "{ name: empty, mountPath: /empty }, { name: empty, mountPath: /sub, subPath: sub },
        { name: host, mountPath: /host }, { name: claim, mountPath: /claim }";
    house.pod("breaker", &volumes, mounts, "").await;
    house.pod("swapper", &volumes, mounts, "").await;
    let folder = house.folder_of("breaker").await;
    std::fs::write(folder.join("bait"), "outside").unwrap();
    std::fs::write(house.data.path().join("node/storage/bait"), "outside").unwrap();
    for dir in ["/empty", "/sub", "/host", "/claim"] {
        let told = house.ask("breaker", &format!("escape?dir={dir}")).await;
        assert!(told.lines().count() > 60 && !told.contains("ESCAPED"), "{dir}\n{told}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("bait")).unwrap(), "outside");
    assert!(!folder.join("made").exists() && !house.free.path().join("made").exists());
    // One turns a directory into a link out of the volume and back while another one opens it.
    let (swapped, chased) =
        tokio::join!(house.ask("swapper", "swap?dir=/host&ms=700"), house.ask("breaker", "chase?dir=/host&ms=700"));
    assert!(swapped.ends_with("turns\n") && chased.starts_with("held"), "{swapped}{chased}");
    // A link that one made is no way for another's subPath.
    assert_eq!(house.ask("breaker", "link?path=/host/trap&to=..").await, "linked\n");
    let sub = "{ name: host, mountPath: /x, subPath: trap }";
    house.apply(&pod("trapped", &volumes, sub, "")).await;
    let why = pod_until(&house.cluster, "trapped", "is refused", |pod| {
        let waiting = pod.pointer("/status/containerStatuses/0/state/waiting")?;
        (waiting["reason"] == "CreateContainerConfigError").then(|| waiting["message"].to_string())
    })
    .await;
    assert!(why.contains("failed to prepare subPath for volumeMount"), "{why}");
    // Who fills what is limited is evicted, as Kubernetes says it.
    let limited = "resources: { limits: { ephemeral-storage: 3Mi } }";
    for (name, volume, more, message) in [
        ("sized", "emptyDir: { sizeLimit: 2Mi }", "", "Usage of EmptyDir volume \"v\" exceeds the limit \"2Mi\". "),
        (
            "memory",
            "emptyDir: { medium: Memory }",
            "resources: { limits: { memory: 32Mi } }",
            "Usage of EmptyDir volume \"v\" exceeds the limit \"32Mi\". ",
        ),
        (
            "whole",
            "emptyDir: {}",
            limited,
            "Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. ",
        ),
    ] {
        house.pod(name, &format!("{{ name: v, {volume} }}"), "{ name: v, mountPath: /v }", more).await;
        assert_eq!(house.ask(name, "fill?dir=/v&mib=1").await, "wrote 1 MiB\n");
        house.ask(name, "fill?dir=/v&mib=40").await;
        let status = pod_until(&house.cluster, name, "is evicted", |pod| {
            (pod.pointer("/status/phase")? == "Failed").then(|| pod["status"].clone())
        })
        .await;
        assert_eq!((&status["reason"], &status["message"]), (&json!("Evicted"), &json!(message)));
        assert_eq!(told(&house.cluster, name, "Evicted", "").await["message"], message);
        let folder = house.folder_of(name).await;
        eventually("what it wrote is gone", async || (!folder.exists()).then_some(())).await;
    }
}

const SET: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: web }
spec:
  serviceName: web
  replicas: 1
  selector: { matchLabels: { app: web } }
  persistentVolumeClaimRetentionPolicy: { whenDeleted: Delete, whenScaled: Retain }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: coracle.local/chaos
          imagePullPolicy: IfNotPresent
          ports: [{ name: http, containerPort: 80 }]
          volumeMounts: [{ name: data, mountPath: /data }]
  volumeClaimTemplates:
    - metadata: { name: data }
      spec: { accessModes: [ReadWriteOncePod], resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: http }] }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web }
spec:
  rules:
    - host: web.localhost
      http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }] }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn claims_get_volumes_that_outlive_pods_and_end_with_the_claim() {
    let house = House::start().await;
    let cluster = &house.cluster;
    house.apply(SET).await;
    serves(cluster, "web.localhost", "/").await;
    let claim = format!("{CLAIMS}/data-web-0");
    let bound = read(cluster, &claim).await.unwrap();
    assert_eq!(
        (&bound["status"]["phase"], &bound["spec"]["storageClassName"]),
        (&json!("Bound"), &json!("local-path"))
    );
    assert_eq!(bound["status"]["capacity"]["storage"], "1Gi");
    assert_eq!(house.ask("web", "write?path=/data/kept&text=still").await, "written\n");
    // A pod that is made again finds what the one before wrote.
    let uid = read(cluster, &format!("{PODS}/web-0")).await.unwrap()["metadata"]["uid"].clone();
    house.delete(&format!("{PODS}/web-0")).await;
    pod_until(cluster, "web-0", "another one is ready", |pod| {
        let ready = pod.pointer("/status/containerStatuses/0/ready")?.as_bool()?;
        (pod["metadata"]["uid"] != uid && ready).then_some(())
    })
    .await;
    serves(cluster, "web.localhost", "/").await;
    assert_eq!(house.ask("web", "read?path=/data/kept").await, "still");
    // It grows when it is asked to.
    house.patch(&claim, json!({ "spec": { "resources": { "requests": { "storage": "2Gi" } } } })).await;
    let volume = eventually("the claim has grown", async || {
        let claim = read(cluster, &claim).await?;
        (claim["status"]["capacity"]["storage"] == "2Gi")
            .then(|| claim["spec"]["volumeName"].as_str().unwrap().to_owned())
    })
    .await;
    let path = format!("/api/v1/persistentvolumes/{volume}");
    assert_eq!(read(cluster, &path).await.unwrap()["spec"]["capacity"]["storage"], "2Gi");
    for reason in ["ExternalProvisioning", "ProvisioningSucceeded", "VolumeResizeSuccessful"] {
        told(cluster, "data-web-0", reason, "").await;
    }
    // With its set the claim goes, then the volume, then what it held.
    let folder = house.data.path().join("node/storage").join(&volume);
    assert!(folder.join("kept").is_file());
    house.delete("/apis/apps/v1/namespaces/default/statefulsets/web").await;
    house.gone(&claim).await;
    house.gone(&path).await;
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_and_volumes_by_hand_work_as_they_do_elsewhere() {
    let house = House::start().await;
    let cluster = &house.cluster;
    let Some(kubectl) = Kubectl::of(cluster) else { return };
    let static_folder = house.free.path().join("disk");
    std::fs::create_dir(&static_folder).unwrap();
    house
        .apply(&format!(
            r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{ name: at-once }}
provisioner: coracle.dev/local-path
reclaimPolicy: Retain
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: early }}
spec: {{ storageClassName: at-once, accessModes: [ReadWriteMany], resources: {{ requests: {{ storage: 1Gi }} }} }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: block }}
spec: {{ storageClassName: at-once, volumeMode: Block, accessModes: [ReadWriteOnce], resources: {{ requests: {{ storage: 1Gi }} }} }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: waiting }}
spec: {{ accessModes: [ReadWriteOnce], resources: {{ requests: {{ storage: 1Gi }} }} }}
---
apiVersion: v1
kind: PersistentVolume
metadata: {{ name: disk }}
spec:
  capacity: {{ storage: 1Gi }}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: by-hand
  local: {{ path: '{}' }}
  nodeAffinity: {{ required: {{ nodeSelectorTerms: [{{ matchExpressions: [{{ key: kubernetes.io/hostname, operator: In, values: [here] }}] }}] }} }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: mine }}
spec: {{ storageClassName: by-hand, accessModes: [ReadWriteOnce], resources: {{ requests: {{ storage: 1Gi }} }} }}
"#,
            static_folder.display()
        ))
        .await;
    let bound = async |name: &str| {
        eventually(&format!("{name} is bound"), async || {
            let claim = read(cluster, &format!("{CLAIMS}/{name}")).await?;
            (claim["status"]["phase"] == "Bound").then(|| claim["spec"]["volumeName"].as_str().unwrap().to_owned())
        })
        .await
    };
    let early = bound("early").await;
    assert_eq!(bound("mine").await, "disk");
    kubectl
        .table(&[
            ("get storageclass", &["local-path (default)", "coracle.dev/local-path", "WaitForFirstConsumer"]),
            ("get pvc waiting", &["Pending", "local-path"]),
            (
                "describe pvc waiting",
                &["WaitForFirstConsumer", "waiting for first consumer to be created before binding"],
            ),
            ("describe pvc block", &["ProvisioningFailed", "volumeMode Block is not offered"]),
        ])
        .await;
    let volumes = "{ name: mine, persistentVolumeClaim: { claimName: mine } },
        { name: early, persistentVolumeClaim: { claimName: early, readOnly: true } },
        { name: own, ephemeral: { volumeClaimTemplate: { spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Mi } } } } } }";
    let mounts = "{ name: mine, mountPath: /mine }, { name: early, mountPath: /early }, { name: own, mountPath: /own }";
    house.pod("user", volumes, mounts, "").await;
    assert_eq!(house.ask("user", "write?path=/mine/a&text=1").await, "written\n");
    assert_eq!(std::fs::read_to_string(static_folder.join("a")).unwrap(), "1");
    assert!(house.ask("user", "write?path=/early/a&text=1").await.starts_with("error"));
    assert_eq!(house.ask("user", "fill?dir=/own&mib=2").await, "wrote 2 MiB\n");
    let own = bound("user-own").await;
    told(cluster, "user", "VolumeCapacityExceeded", "").await;
    // A claim in use stays; with its pod an ephemeral one goes, and a retained volume outlives its claim.
    house.delete(&format!("{CLAIMS}/early")).await;
    assert_eq!(read(cluster, &format!("{CLAIMS}/early")).await.unwrap()["status"]["phase"], "Bound");
    house.delete(&format!("{PODS}/user")).await;
    house.gone(&format!("{CLAIMS}/early")).await;
    house.gone(&format!("{CLAIMS}/user-own")).await;
    house.gone(&format!("/api/v1/persistentvolumes/{own}")).await;
    eventually("the retained volume is released", async || {
        let volume = read(cluster, &format!("/api/v1/persistentvolumes/{early}")).await?;
        (volume["status"]["phase"] == "Released").then_some(())
    })
    .await;
    let folder = house.data.path().join("node/storage").join(&early);
    house.delete(&format!("/api/v1/persistentvolumes/{early}")).await;
    house.gone(&format!("/api/v1/persistentvolumes/{early}")).await;
    assert!(folder.is_dir());
}
