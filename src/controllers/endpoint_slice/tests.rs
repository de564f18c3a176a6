//! Plans as sentences, and that carrying them out leaves nothing to do.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Pod, PodCondition, PodSpec, PodStatus, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;

use super::plan::plan;
use crate::slices::Changes;

fn service(target: IntOrString) -> Service {
    Service {
        metadata: ObjectMeta {
            name: Some("web".into()),
            namespace: Some("a".into()),
            uid: Some("uid".into()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("10.96.0.10".into()),
            selector: Some([("app".into(), "web".into())].into()),
            ports: Some(vec![ServicePort { port: 80, target_port: Some(target), ..ServicePort::default() }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// `address phase [ready] [leaving] [port=N]`, where the port is named `http`.
fn pod(line: &str) -> Arc<Pod> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let has = |word| words.contains(&word);
    let port = words.iter().find_map(|word| word.strip_prefix("port=")).and_then(|port| port.parse().ok());
    let ports = port.map(|container_port| {
        vec![ContainerPort { name: Some("http".into()), container_port, ..ContainerPort::default() }]
    });
    Arc::new(Pod {
        metadata: ObjectMeta {
            name: Some(format!("pod-{}", words[0])),
            uid: Some(words[0].into()),
            deletion_timestamp: has("leaving").then_some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec { containers: vec![Container { ports, ..Container::default() }], ..PodSpec::default() }),
        status: Some(PodStatus {
            phase: Some(words[1].into()),
            pod_ip: Some(words[0].into()).filter(|address| address != "-"),
            conditions: Some(vec![PodCondition {
                type_: "Ready".into(),
                status: if has("ready") { "True" } else { "False" }.into(),
                ..PodCondition::default()
            }]),
            ..PodStatus::default()
        }),
    })
}

fn pods(lines: &str) -> Vec<Arc<Pod>> {
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(pod).collect()
}

/// What the slices are after a plan.
fn carry_out(slices: &mut Vec<Arc<EndpointSlice>>, plan: Changes) {
    slices.retain(|slice| !plan.delete.iter().any(|gone| gone.metadata.name == slice.metadata.name));
    for slice in plan.update {
        slices.retain(|seen| seen.metadata.name != slice.metadata.name);
        slices.push(Arc::new(slice));
    }
    slices.extend(plan.create.into_iter().map(Arc::new));
}

fn check(target: IntOrString, lines: &str, expected: Expect) {
    expected.assert_eq(&plan(&service(target), &pods(lines), &[], &|_| None).to_string());
}

#[test]
fn endpoints_tell_ready_serving_and_terminating_pods_apart() {
    check(
        IntOrString::Int(8080),
        "10.128.0.1 Running ready\n10.128.0.2 Running\n10.128.0.3 Running ready leaving\n- Pending\n10.128.0.4 Failed",
        expect![[r#"
            create IPv4 [:8080]
              10.128.0.1 ready serving
              10.128.0.2
              10.128.0.3 serving terminating
        "#]],
    );
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    check(
        IntOrString::Int(8080),
        "",
        expect![[r#"
            create IPv4 []
        "#]],
    );
}

#[test]
fn pods_that_resolve_a_port_name_differently_are_in_slices_of_their_own() {
    check(
        IntOrString::String("http".into()),
        "10.128.0.1 Running ready port=80\n10.128.0.2 Running ready port=81\n10.128.0.3 Running ready",
        expect![[r#"
            create IPv4 []
              10.128.0.3 ready serving
            create IPv4 [:80]
              10.128.0.1 ready serving
            create IPv4 [:81]
              10.128.0.2 ready serving
        "#]],
    );
}

#[test]
fn one_pod_of_many_rewrites_one_slice() {
    let service = service(IntOrString::Int(80));
    let lines: Vec<String> = (0..250).map(|index| format!("10.128.1.{index} Running ready")).collect();
    let mut slices = Vec::new();
    let first = plan(&service, &pods(&lines.join("\n")), &slices, &|_| None);
    assert_eq!(first.create.len(), 3);
    carry_out(&mut slices, first);
    let more = format!("{}\n10.128.2.1 Running ready", lines[1..].join("\n"));
    let second = plan(&service, &pods(&more), &slices, &|_| None);
    assert_eq!((second.create.len(), second.update.len(), second.delete.len()), (0, 1, 0));
    carry_out(&mut slices, second);
    let last = plan(&service, &[], &slices, &|_| None);
    assert_eq!((last.create.len(), last.update.len(), last.delete.len()), (0, 1, 2));
}

proptest! {
    #[test]
    fn a_plan_that_is_carried_out_leaves_nothing_to_do(
        rounds in proptest::collection::vec(proptest::collection::btree_map(0..300u16, (80..83u16, any::<bool>()), 0..260), 1..4),
    ) {
        let service = service(IntOrString::String("http".into()));
        let mut slices: Vec<Arc<EndpointSlice>> = Vec::new();
        for round in rounds {
            let lines: Vec<String> = round
                .iter()
                .map(|(pod, (port, ready))| {
                    let ready = if *ready { "ready" } else { "" };
                    format!("10.128.{}.{} Running {ready} port={port}", pod / 250, pod % 250)
                })
                .collect();
            let pods = pods(&lines.join("\n"));
            let first = plan(&service, &pods, &slices, &|_| None);
            carry_out(&mut slices, first);
            let again = plan(&service, &pods, &slices, &|_| None).to_string();
            prop_assert_eq!(again, "");
            let count: usize = slices.iter().map(|slice| slice.endpoints.iter().flatten().count()).sum();
            prop_assert_eq!(count, pods.len());
            prop_assert!(slices.iter().all(|slice| slice.endpoints.iter().flatten().count() <= 100));
        }
    }
}

#[test]
fn endpoints_say_where_they_are_and_whose_requests_had_better_come() {
    let mut service = service(IntOrString::Int(80));
    let mut pod = Arc::unwrap_or_clone(pod("10.128.1.1 Running ready"));
    pod.spec.get_or_insert_default().node_name = Some("n1".into());
    let pods = [Arc::new(pod)];
    let endpoint = |service: &Service| {
        let created = plan(service, &pods, &[], &|node| (node == "n1").then(|| "east".to_owned())).create;
        created[0].endpoints.clone().unwrap_or_default().remove(0)
    };
    let hints = |service: &Service| serde_json::to_value(endpoint(service).hints).expect("JSON");
    assert_eq!(endpoint(&service).zone.as_deref(), Some("east"));
    let rows = [
        (None, serde_json::Value::Null),
        (Some("PreferSameZone"), serde_json::json!({"forZones": [{"name": "east"}]})),
        (Some("PreferSameNode"), serde_json::json!({"forNodes": [{"name": "n1"}], "forZones": [{"name": "east"}]})),
    ];
    for (said, wanted) in rows {
        service.spec.get_or_insert_default().traffic_distribution = said.map(str::to_owned);
        assert_eq!(hints(&service), wanted, "{said:?}");
    }
}
