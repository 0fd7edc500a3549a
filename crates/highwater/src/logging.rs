//! Where the log goes: to stderr, as text or as JSON. Started once, before anything is logged.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, ServeConfig};

/// For a command that reads no settings: HIGHWATER_LOG says what is logged, else `level`.
pub(crate) fn start(level: &str) {
    let filter = EnvFilter::try_from_env("HIGHWATER_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    start_with(filter, LogFormat::Text);
}

/// As the settings say.
pub(crate) fn start_configured(config: &ServeConfig) {
    start_with(EnvFilter::new(&config.log_level), config.log_format);
}

fn start_with(filter: EnvFilter, format: LogFormat) {
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
