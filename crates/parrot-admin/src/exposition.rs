//! The two text formats of Prometheus, and which of them a client wants.
//!
//! [OpenMetrics 1.0](https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md) is what
//! `prometheus-client` writes. The older [text format
//! 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/) is what `promtool check metrics`, curl and many
//! agents read.

use std::fmt::Write as _;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    OpenMetrics,
    Text,
}

const OPEN_METRICS: &str = "application/openmetrics-text";

impl Format {
    /// What a client accepts that sends this Accept header. The text format, unless it likes OpenMetrics as much or
    /// more.
    pub(crate) fn accepted(accept: Option<&str>) -> Format {
        let ranges = || accept.unwrap_or_default().split(',').map(range);
        let best = |media_type: &str| {
            let qualities = ranges().filter(|(range, _)| range.eq_ignore_ascii_case(media_type));
            qualities.map(|(_, quality)| quality).fold(0.0, f32::max)
        };
        let open_metrics = best(OPEN_METRICS);
        if open_metrics > 0.0 && open_metrics >= best("text/plain") { Format::OpenMetrics } else { Format::Text }
    }

    /// The Content-Type, without which Prometheus 3 refuses a scrape.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Turns OpenMetrics into this format.
    pub(crate) fn write(self, open_metrics: String) -> String {
        match self {
            Format::OpenMetrics => open_metrics,
            Format::Text => text(&open_metrics),
        }
    }
}

/// A media range and its quality, which is 1 if it has none (RFC 9110, section 12.5.1).
fn range(range: &str) -> (&str, f32) {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=")).map(|quality| quality.parse().unwrap_or(0.0));
    (name, quality.unwrap_or(1.0))
}

/// In the text format a name stands in HELP and TYPE as it stands in its samples, and there is neither a type for
/// information, nor a unit, nor an end.
fn text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(_), Some(words)) => help = words,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    _ => ("", kind),
                };
                let _ = writeln!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
            }
            (Some("#"), ..) => {}
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_format_that_it_prefers() {
        // What Prometheus 2.42 and 3.5 send (scrape/scrape.go, config/config.go).
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [prometheus_2, prometheus_3, OPEN_METRICS, "application/openmetrics-text, text/plain"] {
            assert_eq!(Format::accepted(Some(accept)), Format::OpenMetrics, "{accept}");
        }
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for accept in [
            "*/*",
            browser,
            "text/plain",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=nonsense",
            "",
        ] {
            assert_eq!(Format::accepted(Some(accept)), Format::Text, "{accept}");
        }
        assert_eq!(Format::accepted(Some("text/plain;q=0.9,application/openmetrics-text;q=0.8")), Format::Text);
        assert_eq!(Format::accepted(None), Format::Text);
    }

    #[test]
    fn the_text_format_names_a_metric_as_its_samples_do() {
        let open_metrics = "# HELP a Messages.\n# TYPE a counter\na_total{b=\"# c\"} 1\n# HELP d Build.\n# TYPE d info\n\
                            d_info{e=\"f\"} 1\n# HELP g Bytes now.\n# TYPE g gauge\n# UNIT g bytes\ng 2\n# EOF\n";
        let expected = "# HELP a_total Messages.\n# TYPE a_total counter\na_total{b=\"# c\"} 1\n# HELP d_info Build.\n\
                        # TYPE d_info gauge\nd_info{e=\"f\"} 1\n# HELP g Bytes now.\n# TYPE g gauge\ng 2\n";
        assert_eq!(Format::Text.write(open_metrics.to_owned()), expected);
        assert_eq!(Format::OpenMetrics.write(open_metrics.to_owned()), open_metrics);
    }
}
