//! Where the log goes: to stderr, as text or as JSON. Started once, before anything is logged.
//!
//! Raft's library logs what is no error as one: a group that stops, a peer that is gone. Nothing is logged of what it says unless the
//! filter names it; what matters of it is said in our own words, by `consensus`.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, ServeConfig};

/// What the library's lines are of.
const LIBRARY: &str = "openraft";

/// For a command that reads no settings: HIGHWATER_LOG says what is logged, else `level`.
pub(crate) fn start(level: &str) {
    let wanted = std::env::var("HIGHWATER_LOG").ok();
    let filter = wanted.and_then(|wanted| EnvFilter::try_new(with_library(&wanted)).ok());
    start_with(filter.unwrap_or_else(|| EnvFilter::new(with_library(level))), LogFormat::Text);
}

/// As the settings say.
pub(crate) fn start_configured(config: &ServeConfig) {
    start_with(EnvFilter::new(with_library(&config.log_level)), config.log_format);
}

/// The filter with what holds for the library where it says nothing of it.
fn with_library(filter: &str) -> String {
    if filter.contains(LIBRARY) { filter.to_owned() } else { format!("{LIBRARY}=off,{filter}") }
}

fn start_with(filter: EnvFilter, format: LogFormat) {
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_silent_unless_the_filter_names_it() {
        assert_eq!(with_library("info"), "openraft=off,info");
        assert_eq!(with_library("warn,openraft=debug"), "warn,openraft=debug");
        for filter in ["info", "", "warn,highwater_storage=debug"] {
            assert!(EnvFilter::try_new(with_library(filter)).is_ok(), "{filter}");
        }
    }
}
