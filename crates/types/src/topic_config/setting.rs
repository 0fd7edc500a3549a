//! One setting: its name, type, default and documentation, and how its text becomes
//! a typed value. It never knows which topic it is for.

use super::suggestion::nearest;
use super::{ConfigError, SETTINGS, TopicConfig, UNSUPPORTED_SETTINGS};

/// What the text of a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingType {
    /// A whole number within inclusive bounds.
    Number {
        /// The smallest value, inclusive.
        min: i64,
        /// The largest value, inclusive.
        max: i64,
    },
    /// One of a few words.
    Choice {
        /// Every word that works.
        supported: &'static [&'static str],
        /// Words that Kafka takes and that are refused here by name.
        unsupported: &'static [&'static str],
    },
}

/// A value after its text was checked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    /// Of a [`SettingType::Number`], within its bounds.
    Number(i64),
    /// Of a [`SettingType::Choice`], one that is supported.
    Choice(&'static str),
}

/// One row of [`SETTINGS`].
#[derive(Debug)]
pub struct Setting {
    /// The name, Kafka's where Kafka has the setting.
    pub name: &'static str,
    /// What values look like.
    pub kind: SettingType,
    /// The value of a topic that was given none.
    pub default: &'static str,
    /// What it does, for people: one or a few sentences.
    pub documentation: &'static str,
    /// Puts a checked value where it belongs.
    pub(super) store: fn(&mut TopicConfig, Value),
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Nobody gave one.
    Default,
    /// The topic was given it.
    Topic,
}

/// A setting as `describe` shows it.
#[derive(Debug, Clone)]
pub struct ConfigEntry {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value as text.
    pub value: String,
    /// Where the value came from.
    pub source: ConfigSource,
}

impl Setting {
    /// The setting of that name.
    ///
    /// # Errors
    /// [`ConfigError::Unsupported`] for what only Kafka has, else
    /// [`ConfigError::Unknown`] with the nearest known name.
    pub fn find(name: &str) -> Result<&'static Self, ConfigError> {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
            return Ok(setting);
        }
        if let Some(unsupported) = UNSUPPORTED_SETTINGS.iter().find(|row| row.name == name) {
            return Err(ConfigError::Unsupported { name: unsupported.name, reason: unsupported.reason });
        }
        let known = SETTINGS.iter().map(|setting| setting.name);
        Err(ConfigError::Unknown { name: name.to_owned(), nearest: nearest(name, known) })
    }

    /// The canonical text of a value: surrounding blanks and leading zeros are gone.
    ///
    /// # Errors
    /// When the setting does not take the value.
    pub fn canonical(&self, text: &str) -> Result<String, ConfigError> {
        Ok(match self.parse(text)? {
            Value::Number(number) => number.to_string(),
            Value::Choice(word) => word.to_owned(),
        })
    }

    /// Parses a value and puts it into its place.
    pub(super) fn assign(&self, config: &mut TopicConfig, text: &str) -> Result<(), ConfigError> {
        let value = self.parse(text)?;
        (self.store)(config, value);
        Ok(())
    }

    /// Checks a value's text against the type.
    fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let text = text.trim();
        match self.kind {
            SettingType::Number { min, max } => {
                let value = text
                    .parse::<i64>()
                    .map_err(|_| ConfigError::NotANumber { name: self.name, value: text.to_owned() })?;
                if value < min || value > max {
                    return Err(ConfigError::OutOfRange { name: self.name, value, min, max });
                }
                Ok(Value::Number(value))
            }
            SettingType::Choice { supported, unsupported } => {
                if let Some(word) = supported.iter().find(|word| **word == text) {
                    return Ok(Value::Choice(word));
                }
                // Kafka's lists, such as cleanup.policy=compact,delete, count by any of their words.
                let kafka_has_it = text.split(',').any(|word| unsupported.contains(&word.trim()));
                match supported {
                    [only] if kafka_has_it => Err(ConfigError::UnsupportedValue {
                        name: self.name,
                        value: text.to_owned(),
                        supported: only,
                    }),
                    _ => Err(ConfigError::NotAChoice {
                        name: self.name,
                        value: text.to_owned(),
                        allowed: supported,
                    }),
                }
            }
        }
    }
}

impl Value {
    /// A number that its setting's bounds keep from being negative.
    pub(super) fn unsigned(self) -> u64 {
        u64::try_from(self.number()).expect("the setting's smallest value is not negative")
    }

    /// A number where −1 stands for "without bound".
    pub(super) fn optional(self) -> Option<i64> {
        Some(self.number()).filter(|number| *number >= 0)
    }

    /// The number of a setting of that type.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Number(number) => number,
            Self::Choice(word) => unreachable!("the setting is a number, not '{word}'"),
        }
    }

    /// The word of a setting of that type.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Choice(word) => word,
            Self::Number(number) => unreachable!("the setting is a word, not {number}"),
        }
    }
}
