//! The example file: every setting with its documentation and its default.

use super::setting::{Default, Setting};
use super::table::SETTINGS;

/// How wide its lines are.
const WIDTH: usize = 100;

const HEAD: &str = "\
# The configuration of one Highwater node, for `highwater serve --config FILE`.
#
# Here is every setting. What is commented out is the default, or an example where there is none; only node.id and
# data.dir must be given. A name that is not here is an error.
#
# Each setting is an environment variable and a flag too: listen.grpc is HIGHWATER_LISTEN_GRPC and --listen-grpc. Only
# log.level is HIGHWATER_LOG. A flag goes before the environment, that before this file, and this before the default. An
# empty variable counts as none; in variables and flags a list is separated by commas.
#
# `highwater serve --config FILE --check` shows what holds and where it came from, or everything that is wrong, and starts
# nothing. `highwater serve --example` prints this file.
";

/// The text of the file.
pub(crate) fn text() -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        let (table, key) = setting.section_and_key();
        text.push('\n');
        if table != section {
            text.push_str(&format!("[{table}]\n"));
            section = table;
        }
        text.push_str(&comment(&format!("{} {}", setting.documentation, values(setting))));
        let (mark, value) = match setting.default {
            Default::Required => ("", setting.example),
            Default::Unset => ("#", setting.example),
            Default::Is(default) => ("#", default),
        };
        text.push_str(&format!("{mark}{key} = {}\n", setting.literal(value)));
    }
    text
}

/// What a setting takes, as a sentence, with an example when the default is none.
fn values(setting: &Setting) -> String {
    let takes = setting.kind.takes();
    match setting.default {
        Default::Required => format!("It must be given: {takes}."),
        Default::Unset => format!("It takes {takes}; there is no default."),
        Default::Is("") => format!("It takes {takes}, such as {}.", setting.literal(setting.example)),
        Default::Is(_) => format!("It takes {takes}."),
    }
}

/// The text as comment lines.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line != "#" {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}

/// What the file says when all that is commented out is put into force.
#[cfg(test)]
pub(super) fn uncommented() -> String {
    let text = text();
    let lines = text.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
    let is_said = |line: &&str| line.starts_with(|c: char| c == '[' || c.is_ascii_lowercase());
    lines.filter(is_said).collect::<Vec<_>>().join("\n")
}
