//! Every kind as the real kubectl sees it: listed, explained, created, printed with its columns.

use testkit::TestCluster;

use crate::kubectl::Kubectl;
use crate::process::text;

/// What `kubectl get KIND -o wide` prints above the objects of `objects.yaml`.
const HEADINGS: [(&str, &str); 29] = [
    ("componentstatuses", "NAME STATUS MESSAGE ERROR"),
    ("roles", "NAME CREATED AT"),
    ("rolebindings", "NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS"),
    ("clusterroles", "NAME CREATED AT"),
    ("clusterrolebindings", "NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS"),
    ("pc", "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY"),
    ("sc", "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE"),
    ("vac", "NAME DRIVERNAME AGE"),
    ("csidrivers", "NAME ATTACHREQUIRED PODINFOONMOUNT STORAGECAPACITY TOKENREQUESTS REQUIRESREPUBLISH MODES AGE"),
    ("csinodes", "NAME DRIVERS AGE"),
    ("csistoragecapacities", "NAME STORAGECLASSNAME CAPACITY"),
    ("volumeattachments", "NAME ATTACHER PV NODE ATTACHED AGE"),
    ("runtimeclasses", "NAME HANDLER AGE"),
    ("netpol", "NAME POD-SELECTOR AGE"),
    ("ipaddresses", "NAME PARENTREF"),
    ("servicecidrs", "NAME CIDRS AGE"),
    ("csr", "NAME AGE SIGNERNAME REQUESTOR REQUESTEDDURATION CONDITION"),
    ("validatingwebhookconfigurations", "NAME WEBHOOKS AGE"),
    ("mutatingwebhookconfigurations", "NAME WEBHOOKS AGE"),
    ("validatingadmissionpolicies", "NAME VALIDATIONS PARAMKIND AGE"),
    ("validatingadmissionpolicybindings", "NAME POLICYNAME PARAMREF AGE"),
    ("mutatingadmissionpolicies", "NAME MUTATIONS PARAMKIND AGE"),
    ("mutatingadmissionpolicybindings", "NAME POLICYNAME PARAMREF AGE"),
    ("flowschemas", "NAME PRIORITYLEVEL MATCHINGPRECEDENCE DISTINGUISHERMETHOD AGE MISSINGPL"),
    ("prioritylevelconfigurations", "NAME TYPE NOMINALCONCURRENCYSHARES QUEUES HANDSIZE QUEUELENGTHLIMIT AGE"),
    ("deviceclasses", "NAME AGE"),
    ("resourceclaims", "NAME STATE AGE"),
    ("resourceclaimtemplates", "NAME AGE"),
    ("resourceslices", "NAME NODE DRIVER POOL AGE"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_listed_and_explained() {
    let cluster = TestCluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    let versions = kubectl.told("api-versions").await;
    for wanted in ["v1", "resource.k8s.io/v1", "rbac.authorization.k8s.io/v1", "autoscaling/v2"] {
        assert!(versions.lines().any(|line| line == wanted), "no {wanted} in\n{versions}");
    }
    assert!(!versions.contains("alpha"), "{versions}");
    let wide = kubectl.told("api-resources -o wide").await;
    let row = |name: &str| wide.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default();
    assert!(row("componentstatuses").trim_end().ends_with(" get,list"), "{}", row("componentstatuses"));
    assert!(row("apiservices").ends_with("api-extensions"), "{}", row("apiservices"));
    let names = kubectl.told("api-resources --no-headers -o name").await;
    let mut explained = 0;
    for name in names.lines() {
        // kubectl takes the group of these for a path of fields, with every server.
        if name == "events.events.k8s.io" || name.ends_with(".metrics.k8s.io") {
            continue;
        }
        let text = kubectl.told(&format!("explain {name} --recursive")).await;
        assert!(text.contains("DESCRIPTION:\n    ") && text.contains("FIELDS:"), "{name}\n{text}");
        assert!(!text.contains("<empty>"), "{name}\n{text}");
        explained += 1;
    }
    assert!(explained > 60, "{explained}");
    let rows = [
        ("explain deployment.spec.strategy", "DeploymentStrategy"),
        ("explain pod.spec.containers.resources.limits", "Limits describes"),
        ("explain clusterrole.rules.verbs", "Verbs is a list"),
        ("explain crd.spec.versions.schema.openAPIV3Schema", "<JSONSchemaProps>"),
        ("explain hpa --api-version=autoscaling/v1", "VERSION:    v1"),
    ];
    for (line, wanted) in rows {
        let text = kubectl.told(line).await;
        assert!(text.contains(wanted), "kubectl {line}: no {wanted:?} in\n{text}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_created_and_printed() {
    let cluster = TestCluster::start().await;
    let Some(kubectl) = Kubectl::of(&cluster) else { return };
    // Whether it asks for something sensible is the signer's to say.
    let request = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    let path = kubectl.file("objects.yaml", &include_str!("kinds/objects.yaml").replace("REQUEST", request));
    let created = kubectl.told(&format!("apply -f {path}")).await;
    assert_eq!(created.lines().filter(|line| line.ends_with(" created")).count(), 28, "{created}");
    for (kind, wanted) in HEADINGS {
        let output = kubectl.run(&format!("get {kind} -o wide")).await;
        let (table, warnings) = (text(&output.stdout), text(&output.stderr));
        let heading = table.lines().next().unwrap_or_default();
        assert_eq!(heading.split_whitespace().collect::<Vec<_>>().join(" "), wanted, "kubectl get {kind}");
        assert_eq!(kind == "componentstatuses", warnings.contains("is deprecated"), "{kind}: {warnings}");
    }
    let rows = [
        ("get sc", "every (default)"),
        ("get flowschemas exempt", "False"),
        ("get servicecidr kubernetes", "10.96.0.0/12"),
        ("get csr every", "kubernetes-admin"),
        ("get pc system-node-critical", "2000001000"),
        ("get rolebinding every -o wide", "default/default"),
        ("describe networkpolicy every", "PodSelector:     app=web"),
        ("describe resourceclaim every", "every"),
    ];
    for (line, wanted) in rows {
        let text = kubectl.told(line).await;
        assert!(text.contains(wanted), "kubectl {line}: no {wanted:?} in\n{text}");
    }
    let deleted = kubectl.told(&format!("delete -f {path} --wait=false")).await;
    assert_eq!(deleted.lines().filter(|line| line.contains(" deleted")).count(), 28, "{deleted}");
    cluster.stop().await;
}
