//! Reads settings from a TOML file. Whatever the file holds, the outcome is values and problems with their places.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Origin, Problem};
use super::setting::Setting;
use super::sources::Sources;
use super::table::SETTINGS;

/// Largest file.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Most places of a file that is no TOML which are named.
const SYNTAX_PROBLEMS_MAX: usize = 10;
/// How deep tables are looked into; the settings are two deep.
const DEPTH_MAX: usize = 4;

/// Reads a file into `sources`.
pub(super) fn read(path: &Path, sources: &mut Sources) {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    // One byte more than fits tells the file that is too large.
    let opened = File::open(path);
    if let Err(cause) = opened.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)) {
        return sources.broken_file(Problem::Unreadable { path: name, cause });
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return sources.broken_file(Problem::TooLarge { path: name, bytes_max: FILE_BYTES_MAX });
    }
    read_bytes(name, &bytes, sources);
}

/// Reads a file's bytes.
fn read_bytes(path: String, bytes: &[u8], sources: &mut Sources) {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            let origin = Document::new(path, valid).place(valid.len());
            return sources.broken_file(Problem::NotText { origin });
        }
    };
    let document = Document::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return document.walk(table.get_ref(), "", 1, sources);
    }
    // What a file that is no TOML may mean elsewhere is a guess.
    for error in errors.into_iter().take(SYNTAX_PROBLEMS_MAX) {
        let origin = document.origin(&error.span().unwrap_or_default());
        sources.broken_file(Problem::Syntax { origin, message: error.message().to_owned() });
    }
}

/// A file's text and how to name its places.
struct Document<'t> {
    path: String,
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl<'t> Document<'t> {
    fn new(path: String, text: &'t str) -> Self {
        let begins = text.match_indices('\n').map(|(end, _)| end + 1);
        Self { path, text, lines: std::iter::once(0).chain(begins).collect() }
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        self.place(span.start)
    }

    /// The place of a byte.
    fn place(&self, position: usize) -> Origin {
        let line = self.lines.partition_point(|begin| *begin <= position);
        let begin = self.lines[line - 1];
        let column = self.text.get(begin..position).map_or(0, |before| before.chars().count()) + 1;
        Origin::File { path: self.path.clone(), line, column }
    }

    /// Takes what stands in a table whose name is `prefix`.
    fn walk(&self, table: &DeTable<'_>, prefix: &str, depth: usize, sources: &mut Sources) {
        for (key, value) in table {
            let name = if prefix.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{prefix}.{}", key.get_ref())
            };
            let origin = self.origin(&key.span());
            match (Setting::find(&name), value.get_ref()) {
                (Some(setting), found) => self.take(setting, found, self.origin(&value.span()), sources),
                (None, DeValue::Table(table))
                    if depth < DEPTH_MAX && (!table.is_empty() || is_section(&name)) =>
                {
                    self.walk(table, &name, depth + 1, sources);
                }
                (None, _) => {
                    let nearest = Setting::nearest(&name);
                    sources.problem(Problem::Unknown { origin, name, nearest });
                }
            }
        }
    }

    /// Takes a setting's value.
    fn take(&self, setting: &'static Setting, value: &DeValue<'_>, origin: Origin, sources: &mut Sources) {
        use super::value::Kind::{Bytes, Number, Switch};
        match (setting.kind, value) {
            (Number { .. } | Bytes { .. }, DeValue::Integer(integer)) => {
                // Wider than any bound, so that what does not fit is refused as it was meant.
                let text = match i128::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(number) => number.to_string(),
                    Err(_) => integer.as_str().to_owned(),
                };
                sources.give(setting, &text, origin);
            }
            (Switch, DeValue::Boolean(switch)) => sources.give(setting, &switch.to_string(), origin),
            (kind, DeValue::Array(array)) if kind.is_list() => self.take_list(setting, array, origin, sources),
            (kind, DeValue::String(text)) if !kind.is_list() && !matches!(kind, Number { .. } | Switch) => {
                sources.give(setting, text, origin);
            }
            (_, other) => {
                let found = name_of_type(other);
                sources.wrong(setting, Problem::WrongType { origin, setting, found });
            }
        }
    }

    /// Takes a list, element by element, so that a problem has the place of its element.
    fn take_list(&self, setting: &'static Setting, array: &DeArray<'_>, origin: Origin, sources: &mut Sources) {
        let mut elements = Vec::new();
        for element in array {
            let place = self.origin(&element.span());
            match element.get_ref() {
                DeValue::String(text) => {
                    let is_one =
                        !text.trim().is_empty() && !text.contains(',') && setting.kind.parse(text).is_some();
                    if is_one {
                        elements.push(text.trim());
                    } else {
                        sources.wrong_value(setting, text, place);
                    }
                }
                other => {
                    let found = name_of_type(other);
                    sources.wrong(setting, Problem::WrongType { origin: place, setting, found });
                }
            }
        }
        if elements.len() == array.len() {
            sources.give(setting, &elements.join(","), origin);
        }
    }
}

/// Whether settings have this table.
fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.section_and_key().0 == name)
}

fn name_of_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &[u8]) -> Vec<String> {
        let mut sources = Sources::default();
        read_bytes("f".to_owned(), text, &mut sources);
        sources.into_problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_problem_has_the_place_of_what_is_wrong() {
        for (text, place) in [
            ("[listen]\ngrpc = \"here\"", "f:2:8: listen.grpc takes an IP address"),
            ("node.id = 0", "f:1:11: node.id takes a whole number from 1"),
            ("node.id = -1", "f:1:11: node.id takes a whole number from 1"),
            ("node.id = 0xffffffffffffffffffffffff", "f:1:11: node.id takes a whole number from 1"),
            ("node = 1", "f:1:1: there is no setting node"),
            ("\n  [listn]\n  grpc = 1", "f:3:3: there is no setting listn.grpc; did you mean listen.grpc?"),
            ("[listen]\ninsecure = true", "f:2:1: there is no setting listen.insecure; did you mean insecure?"),
            (
                "insecure = \"yes\"",
                "f:1:12: insecure takes true or false, written as insecure = true; this is a string",
            ),
            ("shutdown.deadline = 10", "f:1:21: shutdown.deadline takes a time with its unit"),
            ("cluster.seeds = \"a:1\"", "written as seeds = [\"node-1.example.com:7400\""),
            ("cluster.seeds = [\"a:1\", \"b\"]", "f:1:25: cluster.seeds takes a list of host:port, not \"b\""),
            ("cluster.seeds = [\"a:1,b:1\"]", "f:1:18: cluster.seeds"),
            ("cluster.seeds = [\"a:1\", 5]", "f:1:25: cluster.seeds"),
            ("cluster.seeds = [\"a:1\", \"a:1\"]", "cluster.seeds has a:1 twice"),
            ("cluster.first_voters = [\"1@a:1\", \"1@b:1\"]", "cluster.first_voters has node 1 twice"),
            ("[node\nid = 1", "f:1:6: "),
            ("# \u{e9}\u{e9}\nid = ", "f:2:"),
            ("[node]\nid = 1\nid = 2", "f:3:1: duplicate key"),
        ] {
            let found = problems(text.as_bytes());
            assert!(found.iter().any(|found| found.contains(place)), "{text}\n{found:?}");
        }
        assert_eq!(problems(b"a = 1\n\xc3\xa9\xff"), ["f:2:2: is not UTF-8 text"]);
        assert_eq!(problems(b"[cluster]\nseeds = [\"a:1\", \"[::1]:2\"]\n[journal]\n"), [""; 0]);
    }

    #[test]
    fn every_prefix_and_every_changed_byte_of_a_file_is_read_without_a_panic() {
        let text = super::super::example::uncommented();
        assert_eq!(problems(text.as_bytes()), [""; 0]);
        for end in 0..text.len() {
            problems(&text.as_bytes()[..end]);
        }
        for position in 0..text.len() {
            for byte in [b'[', b'"', b'=', b'\n', b'.', b'{', 0, 0xff] {
                let mut bytes = text.clone().into_bytes();
                bytes[position] = byte;
                problems(&bytes);
            }
        }
    }

    #[test]
    fn nesting_of_any_depth_is_a_problem_and_no_overflow() {
        let bytes_max = usize::try_from(FILE_BYTES_MAX).expect("small");
        for text in [
            format!("{}a=1", "a.".repeat(bytes_max / 2 - 2)),
            format!("[{}a]", "a.".repeat(bytes_max / 2 - 2)),
            format!("a={}", "[".repeat(bytes_max - 2)),
            format!("a={}", "{a=".repeat(bytes_max / 3 - 2)),
            "[[a]]\n".repeat(bytes_max / 6),
        ] {
            assert!(!problems(text.as_bytes()).is_empty());
        }
    }
}
