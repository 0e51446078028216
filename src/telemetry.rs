//! The program's own log, on standard error, and its metrics.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `text`, `json` or `auto`.
    pub format: LogFormat,
    /// A level or a filter.
    pub level: String,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// Text on a terminal, JSON otherwise.
    Auto,
}

impl Settings {
    /// Whether the filter can be read.
    pub fn check(&self) -> Result<(), String> {
        EnvFilter::try_new(&self.level).map(drop).map_err(|error| error.to_string())
    }
}

/// The registry of this process's metrics, made at the first call.
pub fn metrics() -> PrometheusHandle {
    static REGISTRY: OnceLock<PrometheusHandle> = OnceLock::new();
    let make = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is installed; GET /metrics stays empty");
        }
        handle
    };
    REGISTRY.get_or_init(make).clone()
}

/// Starts the log. A second start in one process changes nothing.
pub fn start(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match settings.format {
        LogFormat::Text => false,
        LogFormat::Json => true,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let base = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let _already_started =
        if json { base.json().flatten_event(true).with_span_list(false).try_init() } else { base.try_init() };
}
