//! The flags of `coracle up` about controllers and the scheduler; names and defaults are Kubernetes'.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

/// How controllers and the scheduler behave.
#[derive(Args, Clone, Debug)]
pub struct ControlPlaneArgs {
    /// A KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1): profiles, plug-ins, scoring
    #[arg(long, value_name = "FILE")]
    pub scheduler_config: Option<PathBuf>,
    /// Act only while holding the Leases kube-controller-manager and kube-scheduler in kube-system
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_elect: bool,
    /// A lease that was not renewed for so long is anybody's
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub leader_elect_lease_duration: Duration,
    /// A leader that could not renew for so long stops to be one
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,
    /// How long to wait between tries
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub leader_elect_retry_period: Duration,
    /// How often all nodes are looked at
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub node_monitor_period: Duration,
    /// A node that was not heard of for so long is unknown
    #[arg(long, value_name = "DURATION", default_value = "50s", value_parser = duration)]
    pub node_monitor_grace_period: Duration,
    /// The same for a node that has never reported
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub node_startup_grace_period: Duration,
    /// How many lost nodes a second lose their pods in a zone that is well
    #[arg(long, value_name = "NUMBER", default_value_t = 0.1)]
    pub node_eviction_rate: f64,
    /// The same in a large zone of which a large part is lost
    #[arg(long, value_name = "NUMBER", default_value_t = 0.01)]
    pub secondary_node_eviction_rate: f64,
    /// A zone with more nodes than this is large
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub large_cluster_size_threshold: usize,
    /// The part of a zone's nodes whose loss is a disruption
    #[arg(long, value_name = "NUMBER", default_value_t = 0.55)]
    pub unhealthy_zone_threshold: f64,
    /// How many pods that have ended are kept; 0 keeps all
    #[arg(long, value_name = "COUNT", default_value_t = 12500)]
    pub terminated_pod_gc_threshold: usize,
}

/// `1h`, `2m30s`, `1.5s`, `300ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write it as 300ms, 1.5s, 2m30s or 1h");
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        rest = &rest[end..];
        let units = [("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, seconds) = units.iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(wrong)?;
        sum += number * seconds;
        rest = &rest[unit.len()..];
    }
    Duration::try_from_secs_f64(sum).ok().filter(|wait| !wait.is_zero()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubernetes_flags_have_them() {
        for (text, millis) in [("300ms", 300), ("1.5s", 1500), ("2m30s", 150_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "1x", "1s2", "0s", "1e400s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
