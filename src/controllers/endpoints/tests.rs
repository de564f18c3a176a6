//! What Endpoints say for a Service and its pods.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, PodCondition, PodStatus, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::plan::{Plan, plan, without_service};

fn service() -> Service {
    Service {
        metadata: ObjectMeta { name: Some("web".into()), ..ObjectMeta::default() },
        spec: Some(ServiceSpec {
            selector: Some([("app".into(), "web".into())].into()),
            ports: Some(vec![ServicePort { port: 80, ..ServicePort::default() }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn pod(ip: &str, ready: bool) -> Arc<Pod> {
    Arc::new(Pod {
        metadata: ObjectMeta { name: Some(format!("pod-{ip}")), ..ObjectMeta::default() },
        spec: None,
        status: Some(PodStatus {
            pod_ip: Some(ip.into()),
            conditions: Some(vec![PodCondition {
                type_: "Ready".into(),
                status: if ready { "True" } else { "False" }.into(),
                ..PodCondition::default()
            }]),
            ..PodStatus::default()
        }),
    })
}

fn ips(endpoints: &Endpoints) -> (Vec<&str>, Vec<&str>) {
    let subsets = || endpoints.subsets.iter().flatten();
    (
        subsets().flat_map(|subset| subset.addresses.iter().flatten()).map(|address| address.ip.as_str()).collect(),
        subsets()
            .flat_map(|subset| subset.not_ready_addresses.iter().flatten())
            .map(|address| address.ip.as_str())
            .collect(),
    )
}

#[test]
fn addresses_are_sorted_and_ready_ones_told_apart() {
    let pods = [pod("10.128.0.10", true), pod("10.128.0.9", true), pod("10.128.0.1", false)];
    let Plan::Create(endpoints) = plan(&service(), &pods, None) else { panic!("nothing is there yet") };
    assert_eq!(ips(&endpoints), (vec!["10.128.0.9", "10.128.0.10"], vec!["10.128.0.1"]));
    assert!(matches!(plan(&service(), &pods, Some(&endpoints)), Plan::Nothing));
    assert!(matches!(plan(&service(), &pods[..1], Some(&endpoints)), Plan::Replace(_)));
    assert!(matches!(without_service(Some(&endpoints)), Plan::Delete(_)));
}

#[test]
fn more_than_a_thousand_addresses_are_truncated_and_that_is_said() {
    let pods: Vec<_> =
        (0..1200u32).map(|index| pod(&format!("10.128.{}.{}", index / 250, index % 250), index % 2 == 0)).collect();
    let Plan::Create(endpoints) = plan(&service(), &pods, None) else { panic!("nothing is there yet") };
    let (ready, not_ready) = ips(&endpoints);
    assert_eq!((ready.len(), not_ready.len()), (600, 400));
    assert!(endpoints.metadata.annotations.is_some());
}
