//! Settings that a pod spec has no field for: annotations under `coracle.dev/`.
//!
//! `coracle.dev/<setting>` holds for all containers of the pod, `<container>.coracle.dev/<setting>` for one and wins. What
//! is unknown or malformed refuses the start: a setting that is ignored in silence is worse than none.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use crate::sandbox::{Handles, LogLevel};

mod grants;

pub use grants::{ConfigSource, Grants, Place};

const DOMAIN: &str = "coracle.dev";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// What a namespace's annotations say for those of its pods that say nothing.
const OF_NAMESPACES: &[&str] = &["request-timeout"];

/// The settings of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a request may take, waiting included.
    pub request_timeout: Duration,
    /// Whether an instance may answer more than one request.
    pub reuse: bool,
    /// How many requests may run at once.
    pub max_concurrent_requests: Option<usize>,
    /// Whether addresses outside of the cluster can be called.
    pub egress: bool,
    /// How long a command may run.
    pub run_timeout: Option<Duration>,
    /// What it is granted beyond the pod.
    pub grants: Grants,
    /// What it may have open at once.
    pub handles: Handles,
    /// Images, or containers of the pod, whose components satisfy imports of this one.
    pub compose: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: REQUEST_TIMEOUT,
            reuse: false,
            max_concurrent_requests: None,
            egress: false,
            run_timeout: None,
            grants: Grants::default(),
            handles: Handles::default(),
            compose: Vec::new(),
        }
    }
}

/// An annotation that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingError {
    /// There is no such setting.
    #[error("annotation {annotation}: there is no such setting; known are {}", SETTINGS.join(", "))]
    Unknown {
        /// The annotation's key.
        annotation: String,
    },
    /// The value cannot be read.
    #[error("annotation {annotation}: {value:?} is not {wanted}")]
    Malformed {
        /// The annotation's key.
        annotation: String,
        /// Its value.
        value: String,
        /// What would be.
        wanted: &'static str,
    },
}

/// Every setting, in the order of the alphabet.
const SETTINGS: &[&str] = &[
    "blobstore",
    "compose",
    "config",
    "egress",
    "keyvalue",
    "logging",
    "max-concurrent-requests",
    "max-handles",
    "max-open-files",
    "max-sockets",
    "request-timeout",
    "reuse",
    "run-timeout",
];

impl Settings {
    /// Reads the annotations that concern `container`: those of its pod, and before them those of the pod's namespace, of
    /// which a few are defaults.
    ///
    /// # Errors
    /// The first annotation that is unknown or malformed.
    pub fn of(
        namespace: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        container: &str,
    ) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        for setting in OF_NAMESPACES {
            if let Some(value) = namespace.get(&format!("{DOMAIN}/{setting}")) {
                settings.set(&format!("{DOMAIN}/{setting} of the namespace"), setting, value)?;
            }
        }
        let own = format!("{container}.{DOMAIN}");
        // The pod's come first, so that the container's replace them.
        for domain in [DOMAIN, own.as_str()] {
            for (annotation, value) in annotations {
                if let Some(setting) = annotation.split_once('/').filter(|(found, _)| *found == domain) {
                    settings.set(annotation, setting.1, value)?;
                }
            }
        }
        Ok(settings)
    }

    fn set(&mut self, annotation: &str, setting: &str, value: &str) -> Result<(), SettingError> {
        let malformed =
            |wanted| SettingError::Malformed { annotation: annotation.to_owned(), value: value.to_owned(), wanted };
        let span = || duration(value).ok_or_else(|| malformed("a duration above zero, as in 500ms, 30s or 2m"));
        let count = || {
            let count = value.parse().ok().filter(|count| *count > 0);
            count.ok_or_else(|| malformed("a whole number above zero"))
        };
        let flag = || value.parse::<bool>().map_err(|_| malformed("\"true\" or \"false\""));
        match setting {
            "request-timeout" => self.request_timeout = span()?,
            "run-timeout" => self.run_timeout = Some(span()?),
            "reuse" => self.reuse = flag()?,
            "egress" => self.egress = flag()?,
            "max-concurrent-requests" => self.max_concurrent_requests = Some(count()?),
            "compose" => {
                let parts: Vec<String> = value.split(',').map(|part| part.trim().to_owned()).collect();
                if parts.iter().any(String::is_empty) {
                    return Err(malformed("a list of images or containers, as in store,coracle.local/clock:v1"));
                }
                self.compose = parts;
            }
            "max-handles" => self.handles.handles = Some(count()?),
            "max-open-files" => self.handles.files = Some(count()?),
            "max-sockets" => self.handles.sockets = Some(count()?),
            "config" => {
                let sources = grants::config(value);
                self.grants.config = sources.ok_or_else(|| malformed(grants::CONFIG_FORM))?;
            }
            "keyvalue" => {
                let places = grants::places(value, grants::is_keyvalue);
                self.grants.keyvalue = places.ok_or_else(|| malformed(grants::KEYVALUE_FORM))?;
            }
            "blobstore" => {
                let places = grants::places(value, grants::is_blobstore);
                self.grants.blobstore = places.ok_or_else(|| malformed(grants::BLOBSTORE_FORM))?;
            }
            "logging" => {
                let level = LogLevel::named(value);
                self.grants.log_level =
                    level.ok_or_else(|| malformed("trace, debug, info, warn, error or critical"))?;
            }
            _ => return Err(SettingError::Unknown { annotation: annotation.to_owned() }),
        }
        Ok(())
    }
}

/// A duration as Go writes it: numbers with units, one after the other.
fn duration(text: &str) -> Option<Duration> {
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let scale = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = next;
    }
    Duration::try_from_secs_f64(total).ok().filter(|total| !total.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(annotations: &[(&str, &str)]) -> Result<Settings, SettingError> {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::of(&BTreeMap::new(), &annotations, "app")
    }

    #[test]
    fn a_namespace_has_defaults_for_its_pods() {
        let of = |namespace: &[(&str, &str)], pod: &[(&str, &str)]| {
            let map = |pairs: &[(&str, &str)]| {
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
            };
            Settings::of(&map(namespace), &map(pod), "app").map_err(|error| error.to_string())
        };
        let (setting, minute) = ("coracle.dev/request-timeout", Duration::from_secs(60));
        assert_eq!(of(&[(setting, "1m")], &[]).map(|found| found.request_timeout), Ok(minute));
        assert_eq!(of(&[(setting, "5s")], &[(setting, "1m")]).map(|found| found.request_timeout), Ok(minute));
        // Rights are not inherited, and what concerns others is theirs.
        let other = [("coracle.dev/egress", "true"), ("coracle.dev/unknown", "x")];
        assert_eq!(of(&other, &[]), Ok(Settings::default()));
        let error = of(&[(setting, "soon")], &[]).unwrap_err();
        assert!(
            error.starts_with("annotation coracle.dev/request-timeout of the namespace: \"soon\" is not"),
            "{error}"
        );
    }

    #[test]
    fn a_containers_setting_wins_over_its_pods() {
        let found = settings(&[
            ("coracle.dev/request-timeout", "1m30s"),
            ("app.coracle.dev/request-timeout", "500ms"),
            ("other.coracle.dev/reuse", "nonsense"),
            ("coracle.dev/reuse", "true"),
            ("example.com/unknown", "x"),
        ]);
        let wanted = Settings { request_timeout: Duration::from_millis(500), reuse: true, ..Settings::default() };
        assert_eq!(found, Ok(wanted));
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let rows = [
            ("coracle.dev/request-timout", "1s", "no such setting"),
            ("coracle.dev/request-timeout", "0s", "is not a duration"),
            ("coracle.dev/request-timeout", "10", "is not a duration"),
            ("app.coracle.dev/reuse", "yes", "\"true\" or \"false\""),
            ("coracle.dev/max-concurrent-requests", "0", "whole number"),
            ("coracle.dev/config", "settings", "configmap/NAME"),
            ("coracle.dev/keyvalue", "a=ftp://x", "redis://"),
            ("coracle.dev/blobstore", "=embedded", "s3://"),
            ("coracle.dev/logging", "loud", "critical"),
        ];
        for (key, value, text) in rows {
            let error = settings(&[(key, value)]).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(key), "{error}");
        }
    }
}
