//! Reads settings from flags. The flags are made from the table, so clap's derive cannot name them.

use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches};

use super::problem::Origin;
use super::setting::{Default, Setting};
use super::sources::Sources;
use super::table::SETTINGS;
use super::value::Kind;

/// What was typed, as text: it is checked together with the other sources, so that all problems are shown at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    typed: Vec<(&'static str, String)>,
}

impl Flags {
    /// Puts the flags into `sources`.
    pub(super) fn read(&self, sources: &mut Sources) {
        for (name, text) in &self.typed {
            if let Some(setting) = Setting::find(name) {
                sources.give(setting, text, Origin::Flag(format!("--{}", setting.flag())));
            }
        }
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let typed = SETTINGS.iter().filter_map(|setting| {
            // A list's flag may come several times.
            let texts: Vec<&str> = matches.get_many::<String>(setting.name)?.map(String::as_str).collect();
            Some((setting.name, texts.join(",")))
        });
        Ok(Self { typed: typed.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        Default::Required => "must be given".to_owned(),
        Default::Unset | Default::Is("") => "default: none".to_owned(),
        Default::Is(default) => format!("default: {default}"),
    };
    let help = format!("{} [{default}] [env: {}]", setting.documentation, setting.variable());
    let argument = Arg::new(setting.name)
        .long(setting.flag())
        .help(help)
        .help_heading("Settings")
        .value_name(setting.kind.placeholder())
        .action(if setting.kind.is_list() { ArgAction::Append } else { ArgAction::Set });
    if setting.kind == Kind::Switch {
        return argument.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    argument
}
