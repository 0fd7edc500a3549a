//! What can be wrong with settings. Each problem says where it is and what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::setting::Setting;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody gave one.
    Default,
    /// A place in the file, counted from 1.
    File { path: String, line: usize, column: usize },
    /// An environment variable.
    Environment(String),
    /// A flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Environment(name) => name.fmt(f),
            Self::Flag(name) => name.fmt(f),
        }
    }
}

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {cause}")]
    Unreadable { path: String, cause: io::Error },
    /// The file is not what it should be.
    #[error("{path}: is larger than {bytes_max} bytes; is it a configuration file?")]
    TooLarge { path: String, bytes_max: u64 },
    /// A text is not Unicode.
    #[error("{origin}: is not UTF-8 text")]
    NotText { origin: Origin },
    /// The file is no TOML.
    #[error("{origin}: {message}")]
    Syntax { origin: Origin, message: String },
    /// No setting has this name.
    #[error("{origin}: there is no setting {name}{}", suggestion(.nearest.map(|setting| setting.name)))]
    Unknown { origin: Origin, name: String, nearest: Option<&'static Setting> },
    /// No setting has this variable.
    #[error("{name}: no setting has this variable{}", suggestion(.nearest.map(Setting::variable)))]
    UnknownVariable { name: String, nearest: Option<&'static Setting> },
    /// The value is of another type.
    #[error("{origin}: {setting} takes {}, written as {} = {}; this is {found}", .setting.kind.takes(),
            .setting.section_and_key().1, .setting.literal(.setting.example))]
    WrongType { origin: Origin, setting: &'static Setting, found: &'static str },
    /// The value does not fit.
    #[error("{origin}: {setting} takes {}, not {text:?}", .setting.kind.takes())]
    WrongValue { origin: Origin, setting: &'static Setting, text: String },
    /// A list has something twice.
    #[error("{origin}: {setting} has {element} twice")]
    Repeated { origin: Origin, setting: &'static Setting, element: String },
    /// Nobody gave what must be given.
    #[error("{setting} must be given: write {} = {} {} of the file, or give --{} or {}",
            .setting.section_and_key().1, .setting.literal(.setting.example), place(.setting),
            .setting.flag(), .setting.variable())]
    Missing { setting: &'static Setting },
    /// Everybody could reach the listener, and it has no TLS and no authentication.
    #[error(
        "{origin}: {setting} is {address}: whoever reaches that address could read and write everything. Listen on \
         127.0.0.1, or say that it is meant with --insecure (insecure = true)"
    )]
    NotLoopback { origin: Origin, setting: &'static Setting, address: SocketAddr },
    /// Nobody could be told where the listener is.
    #[error(
        "{origin}: {setting} is {address}, which is every address of this machine and none that others could be \
         told: say where they reach it with {advertise}"
    )]
    NotAdvertised {
        origin: Origin,
        setting: &'static Setting,
        address: SocketAddr,
        advertise: &'static Setting,
    },
    /// Two listeners cannot have one address.
    #[error("{origin}: {setting} is {address}, and so is {other}: each listener needs a port of its own")]
    SameAddress { origin: Origin, setting: &'static Setting, other: &'static Setting, address: SocketAddr },
}

fn suggestion(name: Option<impl fmt::Display>) -> String {
    name.map_or_else(
        || "; `highwater serve --example` shows all there are".to_owned(),
        |name| format!("; did you mean {name}?"),
    )
}

fn place(setting: &Setting) -> String {
    match setting.section_and_key().0 {
        "" => "at the top".to_owned(),
        section => format!("below [{section}]"),
    }
}
