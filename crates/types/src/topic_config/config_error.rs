//! Why a topic's configuration was refused, in words that say what to do instead.

/// Why a setting or its value was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No setting has this name.
    #[error("unknown topic setting '{name}'{}", suggest(*.nearest))]
    Unknown {
        /// The name as given.
        name: String,
        /// The known name that it was perhaps meant to be.
        nearest: Option<&'static str>,
    },
    /// Kafka has the setting; it has no effect here and so is not accepted.
    #[error("'{name}' is a Kafka setting that is not supported here: {reason}")]
    Unsupported {
        /// The setting's name.
        name: &'static str,
        /// Why not, and what there is instead.
        reason: &'static str,
    },
    /// Kafka has this value of the setting; it does not work here yet.
    #[error("{name}={value} is not supported yet: only '{supported}' is")]
    UnsupportedValue {
        /// The setting's name.
        name: &'static str,
        /// The value as given.
        value: String,
        /// The value that works.
        supported: &'static str,
    },
    /// The value is not a whole number.
    #[error("{name}='{value}' is not a whole number")]
    NotANumber {
        /// The setting's name.
        name: &'static str,
        /// The value as given.
        value: String,
    },
    /// The number lies outside what the setting takes.
    #[error("{name}={value} is out of range: it must be from {min} to {max}")]
    OutOfRange {
        /// The setting's name.
        name: &'static str,
        /// The value as given.
        value: i64,
        /// The smallest value, inclusive.
        min: i64,
        /// The largest value, inclusive.
        max: i64,
    },
    /// The value is none of those that the setting takes.
    #[error("{name}='{value}' is not possible: it must be one of {}", allowed.join(", "))]
    NotAChoice {
        /// The setting's name.
        name: &'static str,
        /// The value as given.
        value: String,
        /// Every value that the setting takes.
        allowed: &'static [&'static str],
    },
    /// More acknowledgements are asked for than a write waits for.
    #[error(
        "min.insync.replicas={requested} is not possible with {replication_factor} replicas: \
         every write waits for a majority, which is {majority}"
    )]
    BeyondMajority {
        /// `min.insync.replicas` as given.
        requested: u32,
        /// Replicas that a write waits for.
        majority: u32,
        /// Replicas of each partition.
        replication_factor: u32,
    },
}

/// The end of the sentence about an unknown name.
fn suggest(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default()
}
