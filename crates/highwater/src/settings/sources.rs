//! What the file, the environment and the flags say, collected in this order, and what is wrong with it. A later source
//! goes before an earlier one; a value that another one overrides must be right all the same.

use std::collections::BTreeSet;

use super::problem::{Origin, Problem};
use super::setting::Setting;
use super::value::Value;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sources {
    given: Vec<Given>,
    problems: Vec<Problem>,
    /// The names of settings that were given something wrong.
    wrong: BTreeSet<&'static str>,
    /// Whether there is a part of the file that nobody could read.
    is_file_broken: bool,
}

/// A value and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) setting: &'static Setting,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl Sources {
    /// Takes a value as text.
    pub(super) fn give(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        let Some(value) = setting.kind.parse(text) else {
            return self.wrong_value(setting, text, origin);
        };
        match value.repeated() {
            None => self.given.push(Given { setting, value, origin }),
            Some(element) => self.wrong(setting, Problem::Repeated { origin, setting, element }),
        }
    }

    /// Takes note of a value that its setting does not take.
    pub(super) fn wrong_value(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        self.wrong(setting, Problem::WrongValue { origin, setting, text: text.to_owned() });
    }

    /// Takes note of what is wrong with a setting's value.
    pub(super) fn wrong(&mut self, setting: &'static Setting, problem: Problem) {
        self.wrong.insert(setting.name);
        self.problems.push(problem);
    }

    /// Takes note of what is wrong beside values.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Takes note that the file says something that cannot be read.
    pub(super) fn broken_file(&mut self, problem: Problem) {
        self.is_file_broken = true;
        self.problems.push(problem);
    }

    /// Whether all that was said of these settings is known, be it nothing.
    pub(super) fn is_sure_of(&self, settings: &[&'static Setting]) -> bool {
        !self.is_file_broken && !settings.iter().any(|setting| self.wrong.contains(setting.name))
    }

    /// What holds of a setting, if anybody gave it.
    pub(super) fn last(&self, setting: &Setting) -> Option<&Given> {
        self.given.iter().rev().find(|given| given.setting.name == setting.name)
    }

    /// Everything that is wrong.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
