//! What a Deployment's annotations say about its canaries.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use thiserror::Error;

/// The steps: `10%`, `10%/2m, 50%/10m`, `10%/manual, 50%`.
pub(crate) const ANNOTATION: &str = "coracle.dev/canary";
const ERRORS: &str = "coracle.dev/canary-max-error-rate";
const LATENCY: &str = "coracle.dev/canary-max-latency";
const REQUESTS: &str = "coracle.dev/canary-min-requests";

const USUAL_HOLD: Duration = Duration::from_secs(60);
const USUAL_ERRORS: f64 = 5.0;
const USUAL_REQUESTS: i64 = 20;

/// How canaries of one Deployment go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub steps: Vec<Step>,
    /// Of a hundred requests, how many may fail.
    pub errors_max: f64,
    /// What 99 of 100 responses may take.
    pub latency_max: Option<Duration>,
    /// Fewer requests say nothing.
    pub requests_min: i64,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Of a hundred requests, how many go to the canary; and of a hundred replicas, how many it has.
    pub percent: u32,
    /// How long its pods are watched; nothing: until somebody says so.
    pub hold: Option<Duration>,
}

/// An annotation that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("annotation {annotation} is {value:?}; {expected}")]
pub(crate) struct SettingsError {
    annotation: &'static str,
    value: String,
    expected: &'static str,
}

impl Settings {
    /// Reads them. The Deployment has [`ANNOTATION`].
    pub fn of(deployment: &Deployment) -> Result<Self, SettingsError> {
        let text = |annotation: &str| deployment.annotations().get(annotation).map(|text| text.trim());
        let read = |annotation, expected, found: fn(&str) -> Option<f64>| match text(annotation) {
            None => Ok(None),
            Some(value) => {
                found(value).map(Some).ok_or_else(|| SettingsError { annotation, value: value.to_owned(), expected })
            }
        };
        let of_steps = text(ANNOTATION).unwrap_or_default();
        let steps = steps(of_steps).ok_or_else(|| SettingsError {
            annotation: ANNOTATION,
            value: of_steps.to_owned(),
            expected: "write steps that grow, each with how long it is held, as in  10%/2m, 50%/10m  (or /manual)",
        })?;
        let errors = read(ERRORS, "write a part of a hundred, as in  1%", percent)?;
        let latency = read(LATENCY, "write a time, as in  250ms", |text| Some(duration(text)?.as_secs_f64()))?;
        let requests =
            read(REQUESTS, "write a whole number, as in  100", |text| text.parse::<u32>().ok().map(f64::from))?;
        Ok(Self {
            steps,
            errors_max: errors.unwrap_or(USUAL_ERRORS),
            latency_max: latency.map(Duration::from_secs_f64),
            requests_min: requests.map_or(USUAL_REQUESTS, |count| count as i64),
        })
    }
}

fn percent(text: &str) -> Option<f64> {
    let value: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    (0.0..=100.0).contains(&value).then_some(value)
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (share, hold) = match part.split_once('/') {
            Some((share, "manual")) => (share, None),
            Some((share, hold)) => (share, Some(duration(hold.trim())?)),
            None => (part, Some(USUAL_HOLD)),
        };
        let share: u32 = share.trim().strip_suffix('%')?.parse().ok()?;
        let grows = steps.last().is_none_or(|last| last.percent < share);
        if !grows || !(1..=100).contains(&share) {
            return None;
        }
        steps.push(Step { percent: share, hold });
    }
    (!steps.is_empty()).then_some(steps)
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * scale;
    (seconds < 1e9).then(|| Duration::from_secs_f64(seconds))
}
