//! `KubeSchedulerConfiguration`: what is read, and what is refused.

use std::time::Duration;

use crate::config::Config;
use crate::plugins::number;
use crate::profile::Strategy;

fn parse(body: &str) -> Result<Config, String> {
    let head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";
    Config::parse(&format!("{head}{body}")).map_err(|error| error.to_string())
}

#[test]
fn profiles_choose_plug_ins_weights_and_settings() {
    let config = parse(
        "
podInitialBackoffSeconds: 2
percentageOfNodesToScore: 70
leaderElection: {leaderElect: false}
profiles:
- schedulerName: default-scheduler
- schedulerName: packer
  plugins:
    multiPoint: {disabled: [{name: ImageLocality}]}
    score:
      disabled: [{name: '*'}]
      enabled: [{name: NodeResourcesFit, weight: 7}]
    filter: {disabled: [{name: NodePorts}]}
    postFilter: {disabled: [{name: DefaultPreemption}]}
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: coracle.dev/fuel, weight: 3}]}}
  - name: PodTopologySpread
    args:
      defaultingType: List
      defaultConstraints: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]
  - name: DefaultPreemption
    args: {minCandidateNodesPercentage: 5, minCandidateNodesAbsolute: 1}
",
    )
    .unwrap();
    assert_eq!(config.names().collect::<Vec<_>>(), ["default-scheduler", "packer"]);
    assert_eq!(config.backoff_first, Duration::from_secs(2));
    let packer = config.profiles.of("packer").unwrap();
    assert!(matches!(&packer.strategy, Strategy::Most(resources) if resources[0].weight == 3));
    assert_eq!(packer.weights.iter().sum::<i64>(), 7);
    assert!(!packer.preempts && packer.filters & 1 << number("NodePorts").unwrap() == 0);
    assert!(packer.spread[0].is_hard && packer.candidates == (5, 1) && packer.percentage == Some(70));
    assert!(config.profiles.of("default-scheduler").unwrap().preempts);
}

#[test]
fn what_has_no_meaning_is_refused() {
    for (body, refusal) in [
        ("profils: []", "profils: unknown field"),
        ("percentageOfNodesToScore: 101", "percentageOfNodesToScore: must be between 0 and 100"),
        (
            "extenders: [{urlPrefix: http://x}]",
            "extenders: webhooks that extend the scheduler are not supported; remove them",
        ),
        ("profiles: [{}, {}]", "profiles[1].schedulerName: Duplicate value: \"default-scheduler\""),
        (
            "profiles: [{plugins: {score: {enabled: [{name: Magic}]}}}]",
            "profiles[0].plugins.score: plugin \"Magic\" does not exist",
        ),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: Best}}}]}]",
            "profiles[0].pluginConfig[0].args.scoringStrategy.type: unsupported scoring strategy type \"Best\"",
        ),
    ] {
        assert_eq!(parse(body).unwrap_err(), refusal);
    }
    assert!(Config::parse("kind: Pod").is_err());
}
