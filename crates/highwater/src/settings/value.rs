//! What values look like, and how their text becomes typed. Every source of settings goes through here, so a size
//! that the file takes is one that a flag takes.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use highwater_server::FirstVoter;
use highwater_types::NodeId;
use tracing_subscriber::EnvFilter;

/// Longest rack name, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Most elements of a list.
const LIST_MAX: usize = 1000;

/// What the values of a setting look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number, bounds inclusive.
    Number { min: u64, max: u64 },
    /// A number of bytes with its unit, bounds inclusive.
    Bytes { min: u64, max: u64 },
    /// A time with its unit, bounds inclusive.
    Duration { min: Duration, max: Duration },
    /// true or false.
    Switch,
    /// A name.
    Name,
    /// A directory.
    Directory,
    /// What is logged, by module.
    LogFilter,
    /// One of these words.
    Word(&'static [&'static str]),
    /// An address of this machine and a port.
    Listen,
    /// Where others find something: a host and a port.
    Endpoint,
    /// Several of those.
    Endpoints,
    /// Nodes with their endpoints.
    Voters,
}

/// A value that its kind takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Of [`Kind::Number`].
    Number(u64),
    /// Of [`Kind::Bytes`].
    Bytes(u64),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Switch`].
    Switch(bool),
    /// Of the kinds that are a text.
    Text(String),
    /// Of [`Kind::Listen`].
    Listen(SocketAddr),
    /// Of [`Kind::Endpoints`].
    Endpoints(Vec<String>),
    /// Of [`Kind::Voters`].
    Voters(Vec<FirstVoter>),
}

impl Kind {
    /// What it takes, to go on after "expected" and "takes".
    pub(super) fn takes(self) -> String {
        match self {
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bytes { min, max } => {
                format!("a size such as 64MiB, from {} to {}", Value::Bytes(min), Value::Bytes(max))
            }
            Self::Duration { min, max } => {
                let (min, max) = (Value::Duration(min), Value::Duration(max));
                format!("a time with its unit such as 10s or 500ms, from {min} to {max}")
            }
            Self::Switch => "true or false".to_owned(),
            Self::Name => format!("a name of 1 to {NAME_BYTES_MAX} bytes"),
            Self::Directory => "a path".to_owned(),
            Self::LogFilter => "off, error, warn, info, debug or trace, or a level for each module such as \
                                info,highwater_storage=debug"
                .to_owned(),
            Self::Word(words) => words.join(" or "),
            Self::Listen => "an IP address and a port such as 127.0.0.1:7400 or [::1]:7400".to_owned(),
            Self::Endpoint => "host:port".to_owned(),
            Self::Endpoints => "a list of host:port".to_owned(),
            Self::Voters => "a list of id@host:port".to_owned(),
        }
    }

    /// What stands for a value in the help.
    pub(super) fn placeholder(self) -> &'static str {
        match self {
            Self::Number { .. } => "NUMBER",
            Self::Bytes { .. } => "SIZE",
            Self::Duration { .. } => "TIME",
            Self::Switch => "true|false",
            Self::Name => "NAME",
            Self::Directory => "DIR",
            Self::LogFilter => "FILTER",
            Self::Word(_) => "WORD",
            Self::Listen => "IP:PORT",
            Self::Endpoint => "HOST:PORT",
            Self::Endpoints => "HOST:PORT,...",
            Self::Voters => "ID@HOST:PORT,...",
        }
    }

    /// Whether it is several values, which text separates with commas and the file writes as an array.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::Endpoints | Self::Voters)
    }

    /// Reads a value from text. `None` when it is not what [`Kind::takes`] says.
    pub(super) fn parse(self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Self::Number { min, max } => {
                text.parse().ok().filter(|number| (min..=max).contains(number)).map(Value::Number)
            }
            Self::Bytes { min, max } => {
                parse_bytes(text).filter(|bytes| (min..=max).contains(bytes)).map(Value::Bytes)
            }
            Self::Duration { min, max } => {
                let time = humantime::parse_duration(text).ok();
                time.filter(|time| (min..=max).contains(time)).map(Value::Duration)
            }
            Self::Switch => text.parse().ok().map(Value::Switch),
            Self::Name => {
                let fits = (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
                fits.then(|| Value::Text(text.to_owned()))
            }
            Self::Directory => {
                let is_path = !text.is_empty() && !text.contains('\0');
                is_path.then(|| Value::Text(text.to_owned()))
            }
            Self::LogFilter => is_log_filter(text).then(|| Value::Text(text.to_owned())),
            Self::Word(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Self::Listen => text.parse().ok().map(Value::Listen),
            Self::Endpoint => is_endpoint(text).then(|| Value::Text(text.to_owned())),
            Self::Endpoints => {
                let endpoints = parts(text)?;
                let all = endpoints.iter().all(|endpoint| is_endpoint(endpoint));
                all.then(|| Value::Endpoints(endpoints.into_iter().map(str::to_owned).collect()))
            }
            Self::Voters => parts(text)?.into_iter().map(parse_voter).collect::<Option<_>>().map(Value::Voters),
        }
    }
}

/// The elements of a list, blanks around them removed.
fn parts(text: &str) -> Option<Vec<&str>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    (parts.len() <= LIST_MAX).then_some(parts)
}

/// A whole number of bytes, with a binary or decimal unit or without one.
fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// Whether this is a host, a colon and a port that can be dialled.
fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let host_fits = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            (1..=NAME_BYTES_MAX).contains(&host.len()) && host.chars().all(is_letter)
        }
    };
    host_fits && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn parse_voter(text: &str) -> Option<FirstVoter> {
    let (id, address) = text.split_once('@')?;
    let node = id.parse::<u64>().ok().filter(|id| *id > 0).map(NodeId)?;
    is_endpoint(address).then(|| FirstVoter { node, address: address.to_owned() })
}

/// Whether this filters logs. A word alone must be a level: one with a wrong letter would pass for a module, and silence
/// everything else.
fn is_log_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_meant = |directive: &str| {
        let directive = directive.trim();
        let is_word = directive.bytes().all(|byte| byte.is_ascii_alphabetic());
        !is_word || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(directive))
    };
    text.split(',').all(is_meant) && EnvFilter::try_new(text).is_ok()
}

impl Value {
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Number(number) | Self::Bytes(number) => number,
            other => panic!("{other:?} is no number: the table names another kind"),
        }
    }

    pub(super) fn duration(self) -> Duration {
        match self {
            Self::Duration(duration) => duration,
            other => panic!("{other:?} is no time: the table names another kind"),
        }
    }

    pub(super) fn switch(self) -> bool {
        match self {
            Self::Switch(switch) => switch,
            other => panic!("{other:?} is no switch: the table names another kind"),
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            other => panic!("{other:?} is no text: the table names another kind"),
        }
    }

    pub(super) fn listen(self) -> SocketAddr {
        match self {
            Self::Listen(address) => address,
            other => panic!("{other:?} is no address: the table names another kind"),
        }
    }

    pub(super) fn endpoints(self) -> Vec<String> {
        match self {
            Self::Endpoints(endpoints) => endpoints,
            other => panic!("{other:?} are no endpoints: the table names another kind"),
        }
    }

    pub(super) fn voters(self) -> Vec<FirstVoter> {
        match self {
            Self::Voters(voters) => voters,
            other => panic!("{other:?} are no voters: the table names another kind"),
        }
    }

    /// The first thing that a list says twice.
    pub(super) fn repeated(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        let mut first_repeated = |texts: Vec<String>| texts.into_iter().find(|text| !seen.insert(text.clone()));
        match self {
            Self::Endpoints(endpoints) => first_repeated(endpoints.clone()),
            Self::Voters(voters) => {
                let ids = voters.iter().map(|voter| format!("node {}", voter.node));
                first_repeated(ids.chain(voters.iter().map(|voter| voter.address.clone())).collect())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    /// The text that gives this value again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Bytes(bytes) => {
                match UNITS.iter().find(|(scale, _)| *bytes > 0 && bytes.is_multiple_of(*scale)) {
                    Some((scale, unit)) => write!(f, "{}{unit}", bytes / scale),
                    None => write!(f, "{bytes}B"),
                }
            }
            Self::Duration(duration) => {
                humantime::format_duration(*duration).to_string().replace(' ', "").fmt(f)
            }
            Self::Switch(switch) => switch.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Listen(address) => address.fmt(f),
            Self::Endpoints(endpoints) => endpoints.join(",").fmt(f),
            Self::Voters(voters) => {
                let texts = voters.iter().map(|voter| format!("{}@{}", voter.node, voter.address));
                texts.collect::<Vec<_>>().join(",").fmt(f)
            }
        }
    }
}
