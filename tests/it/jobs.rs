//! Jobs that crash, that may, and that have enough: their conditions and what people are told.

use serde_json::{Value, json};
use testkit::{TestCluster, eventually};

use cli::connection::Call;
use http::Method;

use crate::support::{apply_text, connection, read, told, with_samples};

fn job(name: &str, spec: &str, arguments: &str) -> String {
    format!(
        r#"
---
apiVersion: batch/v1
kind: Job
metadata: {{ name: {name} }}
spec:
  {spec}
  template:
    spec:
      restartPolicy: Never
      containers: [{{ name: main, image: coracle.local/batch, args: [{arguments}] }}]
"#
    )
}

fn path(name: &str) -> String {
    format!("/apis/batch/v1/namespaces/default/jobs/{name}")
}

/// The conditions that hold, with their reasons, once one of this type does.
async fn ends(cluster: &TestCluster, name: &str, how: &str) -> (Value, Vec<String>) {
    eventually(&format!("job {name} is {how}"), async || {
        let job = read(cluster, &path(name)).await?;
        let rows = job["status"]["conditions"].as_array()?.clone();
        let told = |row: &Value| Some(format!("{}={}", row["type"].as_str()?, row["reason"].as_str()?));
        let all: Vec<String> = rows.iter().filter(|row| row["status"] == "True").filter_map(told).collect();
        all.iter().any(|row| row.starts_with(&format!("{how}="))).then_some((job, all))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_end_as_their_limits_and_policies_say() {
    let cluster = with_samples(&["batch"]).await;
    let indexed = "completionMode: Indexed, completions: 2, parallelism: 2";
    let as_lines = |text: &str| text.replace(", ", "\n  ");
    let story = [
        job("crashes", "backoffLimit: 0", "fail, \"1\""),
        job(
            "judged",
            "podFailurePolicy: { rules: [{ action: FailJob, onExitCodes: { operator: In, values: [1] } }] }",
            "fail, \"1\"",
        ),
        job("apart", &as_lines(&format!("{indexed}, backoffLimitPerIndex: 0")), "fail, \"1\""),
        job(
            "enough",
            &format!("{}\n  successPolicy: {{ rules: [{{ succeededCount: 1 }}] }}", as_lines(indexed)),
            "primes, \"10\"",
        ),
        job("sleeps", "suspend: true", "primes, \"10\""),
        job("theirs", "managedBy: example.com/them", "primes, \"10\""),
    ];
    apply_text(&cluster, &story.concat()).await.unwrap();

    let (job, rows) = ends(&cluster, "crashes", "Failed").await;
    assert_eq!(rows, ["FailureTarget=BackoffLimitExceeded", "Failed=BackoffLimitExceeded"]);
    assert_eq!(job["status"]["failed"], 1, "{job}");
    for reason in ["SuccessfulCreate", "BackoffLimitExceeded"] {
        told(&cluster, "crashes", reason, "").await;
    }

    let (job, rows) = ends(&cluster, "judged", "Failed").await;
    assert_eq!(rows, ["FailureTarget=PodFailurePolicy", "Failed=PodFailurePolicy"]);
    let message = job["status"]["conditions"][1]["message"].as_str().unwrap();
    assert!(message.starts_with("Container main for pod default/judged-"), "{message}");
    assert!(message.ends_with(" failed with exit code 1 matching FailJob rule at index 0"), "{message}");
    told(&cluster, "judged", "PodFailurePolicy", "").await;

    let (job, rows) = ends(&cluster, "apart", "Failed").await;
    assert_eq!(rows, ["FailureTarget=FailedIndexes", "Failed=FailedIndexes"]);
    assert_eq!(job["status"]["failedIndexes"], "0,1", "{job}");

    let (job, rows) = ends(&cluster, "enough", "Complete").await;
    assert_eq!(rows, ["SuccessCriteriaMet=SuccessPolicy", "Complete=SuccessPolicy"]);
    assert!(job["status"]["completionTime"].is_string(), "{job}");
    told(&cluster, "enough", "Completed", "").await;

    let (job, rows) = ends(&cluster, "sleeps", "Suspended").await;
    assert_eq!((rows, &job["status"]["startTime"]), (vec!["Suspended=JobSuspended".to_owned()], &Value::Null));
    let awake = json!({ "spec": { "suspend": false } }).to_string().into_bytes();
    let call = Call::new(Method::PATCH, path("sleeps")).body("application/merge-patch+json", awake);
    connection(&cluster).json(call).await.unwrap();
    let (job, rows) = ends(&cluster, "sleeps", "Complete").await;
    assert_eq!(rows, ["SuccessCriteriaMet=CompletionsReached", "Complete=CompletionsReached"]);
    let first = &job["status"]["conditions"][0];
    assert_eq!((&first["status"], &first["reason"]), (&"False".into(), &"JobResumed".into()));
    for reason in ["Suspended", "Resumed", "SuccessfulCreate", "Completed"] {
        told(&cluster, "sleeps", reason, "").await;
    }

    let theirs = read(&cluster, &path("theirs")).await.unwrap();
    assert_eq!(theirs["status"], json!({}), "who is managed by others is left alone");
    cluster.stop().await;
}
