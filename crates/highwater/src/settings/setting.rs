//! One setting: its name, what it takes, its default and its documentation. Its environment variable, its flag
//! and its place in the file follow from the name.

use std::fmt;

use super::serve_config::ServeConfig;
use super::table::SETTINGS;
use super::value::{Kind, Value};

/// What the names of environment variables begin with.
pub(super) const PREFIX: &str = "HIGHWATER_";

/// One row of the table of settings.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Where it stands in the file: tables and key, with dots between them.
    pub(super) name: &'static str,
    /// What values look like.
    pub(super) kind: Kind,
    /// What holds when nobody says anything.
    pub(super) default: Default,
    /// A value that could be meant, as text. It differs from the default.
    pub(super) example: &'static str,
    /// What it does, for people.
    pub(super) documentation: &'static str,
    /// Puts a value of its kind where it belongs.
    pub(super) store: fn(&mut ServeConfig, Value),
}

/// What holds when nobody gives a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    /// It must be given.
    Required,
    /// Nothing; the documentation says what follows from that.
    Unset,
    /// This value, as text.
    Is(&'static str),
}

impl Setting {
    /// Its environment variable.
    pub(super) fn variable(&self) -> String {
        match self.name {
            // The log filter of every other command has this name too.
            "log.level" => format!("{PREFIX}LOG"),
            name => format!("{PREFIX}{}", name.replace('.', "_").to_ascii_uppercase()),
        }
    }

    /// Its flag, without the dashes.
    pub(super) fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// A value of it as the file writes it.
    pub(super) fn literal(&self, text: &str) -> String {
        match self.kind {
            Kind::Number { .. } | Kind::Switch => text.to_owned(),
            kind if kind.is_list() => {
                let elements = text.split(',').filter(|element| !element.is_empty());
                format!("[{}]", elements.map(|element| format!("{element:?}")).collect::<Vec<_>>().join(", "))
            }
            _ => format!("{text:?}"),
        }
    }

    /// The setting of this name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// The setting that was meant by a name that none has: the one that is written most like it, else one with the
    /// same key, for a key is easily put into the wrong table.
    pub(super) fn nearest(name: &str) -> Option<&'static Self> {
        let known = SETTINGS.iter().map(|setting| setting.name);
        if let Some(nearest) = highwater_types::topic_config::nearest(name, known) {
            return Self::find(nearest);
        }
        let key = name.rsplit_once('.').map_or(name, |(_, key)| key);
        SETTINGS.iter().find(|setting| setting.section_and_key().1 == key)
    }

    /// Its table in the file, empty at the top, and its key.
    pub(super) fn section_and_key(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
