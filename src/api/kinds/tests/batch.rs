//! Jobs and CronJobs.

use super::*;

const UID: &str = "5b1e8f7a-0000-4000-8000-000000000001";

fn job() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b", "uid": UID},
        "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "hello:1"}]}},
        },
    })
}

fn stored(change: impl Fn(&mut Value)) -> Value {
    let mut object = job();
    change(&mut object);
    created("batch/jobs", object)
}

fn job_faults(change: impl Fn(&mut Value)) -> Vec<String> {
    find("batch/jobs").behaviour.validate(&stored(change), None).iter().map(ToString::to_string).collect()
}

fn update(old: &Value, change: impl Fn(&mut Value)) -> Vec<String> {
    let mut new = old.clone();
    change(&mut new);
    find("batch/jobs").behaviour.validate(&new, Some(old)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_new_job_is_filled_in_and_finds_its_own_pods() {
    let made = stored(|_| {});
    let spec = &made["spec"];
    assert_eq!(spec["completions"], 1);
    assert_eq!(spec["parallelism"], 1);
    assert_eq!(spec["backoffLimit"], 6);
    assert_eq!(spec["completionMode"], "NonIndexed");
    assert_eq!(spec["suspend"], false);
    assert_eq!(spec["manualSelector"], false);
    assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
    assert_eq!(spec["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": UID}}));
    let labels = json!({
        "batch.kubernetes.io/controller-uid": UID, "batch.kubernetes.io/job-name": "a",
        "controller-uid": UID, "job-name": "a",
    });
    assert_eq!(spec["template"]["metadata"]["labels"], labels);
    assert_eq!(made["metadata"]["labels"], labels);
    assert_eq!(made["status"], json!({}));
    assert_eq!(find("batch/jobs").behaviour.validate(&made, None), []);
}

#[test]
fn defaults_follow_from_what_is_said() {
    let parallel = stored(|job| job["spec"]["parallelism"] = json!(3));
    assert_eq!(parallel["spec"].get("completions"), None);
    let by_index = stored(|job| {
        job["spec"]["completionMode"] = json!("Indexed");
        job["spec"]["completions"] = json!(2);
        job["spec"]["backoffLimitPerIndex"] = json!(1);
        job["metadata"]["labels"] = json!({"mine": "yes"});
    });
    assert_eq!(by_index["spec"]["backoffLimit"], i32::MAX);
    assert_eq!(by_index["metadata"]["labels"], json!({"mine": "yes"}));
    let manual = stored(|job| {
        job["spec"]["manualSelector"] = json!(true);
        job["spec"]["selector"] = json!({"matchLabels": {"x": "y"}});
        job["spec"]["template"]["metadata"] = json!({"labels": {"x": "y"}});
    });
    assert_eq!(manual["spec"]["template"]["metadata"]["labels"], json!({"x": "y"}));
    let policy = stored(|job| {
        let rule = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]});
        job["spec"]["podFailurePolicy"] = json!({"rules": [rule]});
    });
    assert_eq!(policy["spec"]["podReplacementPolicy"], "Failed");
    assert_eq!(policy["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
}

#[test]
fn bad_jobs_are_told_what_is_wrong() {
    let rows: &[(&str, Value, &[&str])] = &[
        (
            "/spec/template/spec/restartPolicy",
            json!("Always"),
            &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
        ),
        ("/spec/parallelism", json!(-1), &["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"]),
        (
            "/spec/completionMode",
            json!("Sometimes"),
            &["spec.completionMode: Unsupported value: \"Sometimes\": supported values: \"NonIndexed\", \"Indexed\""],
        ),
        (
            "/spec/maxFailedIndexes",
            json!(1),
            &[
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
            ],
        ),
        (
            "/spec/managedBy",
            json!("me"),
            &["spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
        ),
        (
            "/spec/successPolicy",
            json!({"rules": [{"succeededCount": 1}]}),
            &[
                "spec.successPolicy: Invalid value: {\"rules\":[{\"succeededCount\":1}]}: requires indexed completion mode",
            ],
        ),
        (
            "/spec/podFailurePolicy",
            json!({"rules": [{"action": "Stop"}]}),
            &[
                "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Stop\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
            ],
        ),
        (
            "/spec/podFailurePolicy",
            json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "containerName": "x", "values": [2, 0]}}]}),
            &[
                "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
                "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0]: must be ordered",
            ],
        ),
        (
            "/spec/template/metadata",
            json!({"labels": {"job-name": "other"}}),
            &["spec.template.metadata.labels[job-name]: Invalid value: {"],
        ),
    ];
    assert_eq!(job_faults(|_| {}), Vec::<String>::new());
    for (pointer, value, expected) in rows {
        let found = job_faults(|job| *job = changed(job, pointer, value));
        assert_eq!(found.len(), expected.len(), "{pointer} = {value}: {found:#?}");
        for (fault, start) in found.iter().zip(*expected) {
            assert!(fault.starts_with(start), "{pointer} = {value}: {fault}\nshould start with {start}");
        }
    }
}

#[test]
fn indexed_jobs_have_rules_of_their_own() {
    let indexed = |change: fn(&mut Value)| {
        job_faults(|job| {
            job["spec"]["completionMode"] = json!("Indexed");
            job["spec"]["completions"] = json!(5);
            change(job);
        })
    };
    assert!(indexed(|_| {}).is_empty());
    assert_eq!(
        indexed(|job| job["spec"]["completions"] = Value::Null).first().map(String::as_str),
        None,
        "completions are one when nobody says"
    );
    assert_eq!(
        indexed(|job| job["spec"]["successPolicy"] = json!({"rules": [{"succeededIndexes": "0,2-9"}]})),
        [
            "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0,2-9\": error parsing succeededIndexes: too large index: \"9\""
        ]
    );
    assert_eq!(
        indexed(|job| {
            job["spec"]["successPolicy"] = json!({"rules": [{"succeededIndexes": "0-2", "succeededCount": 4}]});
        }),
        [
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of indexes in the specified succeededIndexes field)"
        ]
    );
    assert_eq!(
        indexed(|job| job["spec"]["parallelism"] = json!(100_001)),
        [
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"
        ]
    );
}

#[test]
fn little_of_a_job_may_change() {
    let running = stored(|_| {});
    assert!(update(&running, |job| job["spec"]["parallelism"] = json!(5)).is_empty());
    assert!(update(&running, |job| job["spec"]["suspend"] = json!(true)).is_empty());
    assert_eq!(
        update(&running, |job| job["spec"]["completions"] = json!(5)),
        ["spec.completions: Invalid value: 5: field is immutable"]
    );
    let image = update(&running, |job| job["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x"));
    assert_eq!(image.len(), 1);
    assert!(image[0].starts_with("spec.template: Invalid value: {"), "{image:?}");
    assert!(image[0].ends_with(": field is immutable"), "{image:?}");

    let suspended = stored(|job| job["spec"]["suspend"] = json!(true));
    let moved = |job: &mut Value| {
        job["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "fast"});
        job["spec"]["template"]["spec"]["affinity"] = json!({"nodeAffinity": {}});
        job["spec"]["template"]["metadata"]["labels"]["more"] = json!("x");
    };
    assert_eq!(update(&suspended, moved), Vec::<String>::new());
    let mut started = suspended.clone();
    started["status"]["startTime"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(update(&started, moved).len(), 1);
    let grown = |job: &mut Value| {
        job["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "2"}});
    };
    assert!(update(&started, grown).is_empty());
    assert_eq!(update(&running, grown).len(), 1);

    let indexed = stored(|job| {
        job["spec"]["completionMode"] = json!("Indexed");
        job["spec"]["completions"] = json!(5);
        job["spec"]["parallelism"] = json!(5);
    });
    assert_eq!(
        update(&indexed, |job| job["spec"]["completions"] = json!(3)),
        ["spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"]
    );
    assert!(
        update(&indexed, |job| {
            job["spec"]["completions"] = json!(3);
            job["spec"]["parallelism"] = json!(3);
        })
        .is_empty()
    );
}

#[test]
fn a_job_ends_once_and_for_good() {
    let faults = |old: Value, new: Value| -> Vec<String> {
        let with = |status: Value| {
            let mut job = stored(|_| {});
            job["status"] = status;
            job
        };
        let found = find("batch/jobs").behaviour.validate_status(&with(new), &with(old));
        found.iter().map(ToString::to_string).collect()
    };
    let on = |kind: &str| json!({"type": kind, "status": "True"});
    let complete = json!({
        "conditions": [on("SuccessCriteriaMet"), on("Complete")],
        "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:05Z", "succeeded": 1,
    });
    assert!(faults(json!({"active": 1}), complete.clone()).is_empty());
    assert_eq!(
        faults(json!({}), json!({"conditions": [on("Complete")]})),
        [
            "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            "status.completionTime: Required value: completionTime is required for Complete jobs",
            "status.startTime: Required value: startTime is required for finished job",
        ]
    );
    assert_eq!(
        faults(
            complete.clone(),
            json!({"conditions": [on("SuccessCriteriaMet")], "startTime": "2026-01-01T00:00:00Z", "succeeded": 1})
        ),
        ["status.conditions: Invalid value: cannot disable the terminal Complete=True condition"]
    );
    assert_eq!(
        faults(json!({"failed": 2, "active": 1}), json!({"failed": 1, "active": 1, "ready": 2})),
        [
            "status.ready: Invalid value: 2: cannot set more ready pods than active",
            "status.failed: Invalid value: 1: cannot decrease the failed counter",
        ]
    );
}

#[test]
fn jobs_print_how_far_they_are() {
    assert_eq!(headings("batch/jobs"), "NAME STATUS COMPLETIONS DURATION AGE (CONTAINERS) (IMAGES) (SELECTOR)");
    let mut made = stored(|_| {});
    made["metadata"]["creationTimestamp"] = json!("2026-01-01T00:59:00Z");
    made["status"] = json!({"startTime": "2026-01-01T00:59:00Z", "active": 1});
    assert_eq!(
        cells("batch/jobs", &made, false),
        [json!("a"), json!("Running"), json!("0/1"), json!("60s"), json!("60s")]
    );
    made["status"] = json!({
        "startTime": "2026-01-01T00:59:00Z", "completionTime": "2026-01-01T00:59:05Z", "succeeded": 1,
        "conditions": [{"type": "Complete", "status": "True"}],
    });
    assert_eq!(cells("batch/jobs", &made, false)[1..4], [json!("Complete"), json!("1/1"), json!("5s")]);
    assert_eq!(
        cells("batch/jobs", &made, true)[5..],
        [json!("main"), json!("hello:1"), json!(format!("batch.kubernetes.io/controller-uid={UID}"))]
    );
}

fn cron_job() -> Value {
    json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {
            "schedule": "*/5 * * * *",
            "jobTemplate": {"spec": {
                "template": {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "main", "image": "hello"}]}},
            }},
        },
    })
}

#[test]
fn a_new_cron_job_is_filled_in() {
    let spec = &created("batch/cronjobs", cron_job())["spec"];
    assert_eq!(spec["concurrencyPolicy"], "Allow");
    assert_eq!(spec["suspend"], false);
    assert_eq!(spec["successfulJobsHistoryLimit"], 3);
    assert_eq!(spec["failedJobsHistoryLimit"], 1);
    let job = &spec["jobTemplate"]["spec"];
    assert_eq!(job["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    assert_eq!(job.get("backoffLimit"), None);
}

#[test]
fn schedules_are_read_as_cron_reads_them() {
    let rows: &[(&str, &str)] = &[
        ("0 0 1 JAN sun", ""),
        ("@daily", ""),
        ("@every 5m", ""),
        ("@every 5x", "failed to parse duration @every 5x: time: unknown unit \"x\" in duration \"5x\""),
        ("1-5,7,10-20/3 ? * * 1/2", ""),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
        ("-1 * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("@yesterday", "unrecognized descriptor: @yesterday"),
    ];
    for (schedule, why) in rows {
        let found = faults("batch/cronjobs", changed(&cron_job(), "/spec/schedule", &json!(schedule)), None);
        let expected = format!("spec.schedule: Invalid value: \"{schedule}\": {why}");
        let expected: &[String] = if why.is_empty() { &[] } else { &[expected] };
        assert_eq!(found, expected);
    }
}

#[test]
fn bad_cron_jobs_are_told_what_is_wrong() {
    check_faults(
        "batch/cronjobs",
        &cron_job(),
        &[
            ("/spec/schedule", Value::Null, &["spec.schedule: Required value"]),
            (
                "/spec/schedule",
                json!("TZ=UTC 0 * * * *"),
                &[
                    "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                ],
            ),
            ("/spec/timeZone", json!("Europe/Berlin"), &[]),
            ("/spec/timeZone", json!("Etc/UTC"), &[]),
            (
                "/spec/timeZone",
                json!("Europe/Nowhere"),
                &["spec.timeZone: Invalid value: \"Europe/Nowhere\": unknown time zone Europe/Nowhere"],
            ),
            (
                "/spec/timeZone",
                json!("Local"),
                &["spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in"],
            ),
            (
                "/spec/concurrencyPolicy",
                json!("Maybe"),
                &[
                    "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
                ],
            ),
            (
                "/spec/jobTemplate/spec/selector",
                json!({"matchLabels": {"a": "b"}}),
                &[
                    "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated",
                ],
            ),
            ("/metadata/name", json!("a".repeat(53)), &["metadata.name: Invalid value: "]),
        ],
    );
}

#[test]
fn cron_jobs_print_when_they_ran_last() {
    assert_eq!(
        headings("batch/cronjobs"),
        "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE (CONTAINERS) (IMAGES) (SELECTOR)"
    );
    let mut made = created("batch/cronjobs", cron_job());
    made["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let shown = |made: &Value| cells("batch/cronjobs", made, false)[1..6].to_vec();
    assert_eq!(shown(&made), [json!("*/5 * * * *"), json!("<none>"), json!("False"), json!(0), json!("<none>")]);
    made["status"] = json!({"lastScheduleTime": "2026-01-01T00:57:00Z", "active": [{}]});
    assert_eq!(shown(&made)[3..], [json!(1), json!("3m")]);
}
