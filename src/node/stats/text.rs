//! Prometheus' text form, for figures that live elsewhere than in a registry.

use std::fmt::{Display, Write};

use base::histogram::Snapshot;

/// A page as it grows.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One sample. `labels` are as [`labels`] makes them.
    pub fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    /// The samples of a histogram.
    pub fn histogram(&mut self, name: &str, labels: &str, seen: &Snapshot) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in seen.cumulative() {
            let _ = writeln!(self.0, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(self.0, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", seen.count());
        self.sample(&format!("{name}_sum"), labels, seen.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), labels, seen.count());
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// `name="value"` pairs.
pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_upwards() {
        let histogram = base::histogram::Histogram::default();
        histogram.observe(std::time::Duration::from_millis(2));
        let mut text = Text::default();
        text.histogram("a_seconds", &labels(&[("stage", "a\"b")]), &histogram.snapshot());
        let text = text.finish();
        for line in [
            "a_seconds_bucket{stage=\"a\\\"b\",le=\"0.001\"} 0\n",
            "a_seconds_bucket{stage=\"a\\\"b\",le=\"0.0025\"} 1\n",
            "a_seconds_bucket{stage=\"a\\\"b\",le=\"+Inf\"} 1\n",
            "a_seconds_sum{stage=\"a\\\"b\"} 0.002\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
