//! What holds: of each setting the value that goes before all others, where it came from, and the configuration that
//! they make.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::problem::{Origin, Problem};
use super::serve_config::ServeConfig;
use super::setting::{Default, Setting};
use super::sources::{Given, Sources};
use super::table::SETTINGS;
use super::{Flags, environment, file};

/// See the module.
#[derive(Debug)]
pub(crate) struct Effective {
    /// What `serve` runs with.
    pub(crate) config: ServeConfig,
    /// All settings, in the order of the table.
    pub(crate) rows: Vec<EffectiveRow>,
}

/// A setting as `--check` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EffectiveRow {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its value as text, if it has one.
    pub(crate) value: Option<String>,
    /// Where it came from.
    pub(crate) origin: Origin,
}

impl Effective {
    /// Reads all sources: a flag goes before the environment, that before the file, and this before the default.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub(crate) fn resolve(
        file: Option<&Path>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        flags: &Flags,
    ) -> Result<Self, Vec<Problem>> {
        let mut sources = Sources::default();
        if let Some(path) = file {
            file::read(path, &mut sources);
        }
        environment::read(variables, &mut sources);
        flags.read(&mut sources);

        let mut effective = Self { config: ServeConfig::blank(), rows: Vec::new() };
        for setting in SETTINGS {
            let given = sources.last(setting).cloned().or_else(|| default(setting));
            if given.is_none() && setting.default == Default::Required && sources.is_sure_of(&[setting]) {
                sources.problem(Problem::Missing { setting });
            }
            effective.take(setting, given);
        }
        // A service must not begin a cluster because somebody forgot to name the others.
        effective.config.node.awaits_init = true;
        effective.check_listeners(&mut sources);
        let problems = sources.into_problems();
        if problems.is_empty() { Ok(effective) } else { Err(problems) }
    }

    fn take(&mut self, setting: &'static Setting, given: Option<Given>) {
        let (value, origin) = match given {
            Some(Given { value, origin, .. }) => {
                let text = value.to_string();
                (setting.store)(&mut self.config, value);
                (Some(text), origin)
            }
            None => (None, Origin::Default),
        };
        self.rows.push(EffectiveRow { name: setting.name, value, origin });
    }

    /// What must hold between settings, of those whose values are known.
    fn check_listeners(&self, sources: &mut Sources) {
        let node = &self.config.node;
        let [grpc, peer, http] = ["listen.grpc", "listen.peer", "listen.http"].map(known);
        let (insecure, advertised) = (known("insecure"), ["advertise.grpc", "advertise.peer"].map(known));
        let mut problems = Vec::new();
        for (setting, address) in [(grpc, node.grpc), (peer, node.peer), (http, node.http)] {
            if !address.ip().is_loopback() && !node.insecure && sources.is_sure_of(&[setting, insecure]) {
                problems.push(Problem::NotLoopback { origin: self.origin(setting), setting, address });
            }
        }
        let told = [(grpc, node.grpc, &node.advertised_grpc), (peer, node.peer, &node.advertised_peer)];
        for ((setting, address, advertised_as), advertise) in told.into_iter().zip(advertised) {
            let is_told = !address.ip().is_unspecified() || advertised_as.is_some();
            if !is_told && sources.is_sure_of(&[setting, advertise]) {
                problems.push(Problem::NotAdvertised {
                    origin: self.origin(setting),
                    setting,
                    address,
                    advertise,
                });
            }
        }
        let pairs = [
            (peer, node.peer, grpc, node.grpc),
            (http, node.http, grpc, node.grpc),
            (http, node.http, peer, node.peer),
        ];
        for (setting, address, other, other_address) in pairs {
            if collide(address, other_address) && sources.is_sure_of(&[setting, other]) {
                problems.push(Problem::SameAddress { origin: self.origin(setting), setting, other, address });
            }
        }
        problems.into_iter().for_each(|problem| sources.problem(problem));
    }

    /// Where a setting's value came from.
    fn origin(&self, setting: &Setting) -> Origin {
        let row = self.rows.iter().find(|row| row.name == setting.name);
        row.map_or(Origin::Default, |row| row.origin.clone())
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    one == other && one.port() != 0
}

/// A setting that the table has for sure.
fn known(name: &str) -> &'static Setting {
    Setting::find(name).expect("the table has the setting")
}

fn default(setting: &'static Setting) -> Option<Given> {
    let Default::Is(text) = setting.default else {
        return None;
    };
    let value = setting.kind.parse(text).expect("a default is of its kind");
    Some(Given { setting, value, origin: Origin::Default })
}
