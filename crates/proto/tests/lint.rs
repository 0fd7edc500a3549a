//! Holds the API's files to buf's standard lint rules, without buf: layout, names, one
//! request and response message per method, prefixed enums, a comment on everything.

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

const PACKAGE: &str = "highwater.v1";

// Field numbers of descriptor.proto, of which the paths of comments are made.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUM: i32 = 4;
const MESSAGE_ONEOF: i32 = 8;
const ENUM_VALUE: i32 = 2;
const SERVICE_METHOD: i32 = 2;

/// What is wrong, collected over all files.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn require(&mut self, holds: bool, finding: impl FnOnce() -> String) {
        if !holds {
            self.0.push(finding());
        }
    }
}

/// One file with its comments by path.
struct Lint<'a> {
    file: &'a FileDescriptorProto,
    comments: HashMap<Vec<i32>, String>,
    findings: &'a mut Findings,
}

impl Lint<'_> {
    fn comment(&mut self, path: &[i32], name: &str) {
        let has_comment = self.comments.get(path).is_some_and(|comment| comment.trim().len() >= 4);
        let file = self.file.name().to_owned();
        self.findings.require(has_comment, || format!("{file}: {name} has no comment"));
    }

    fn message(&mut self, message: &DescriptorProto, path: &[i32], scope: &str) {
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            return;
        }
        let name = format!("{scope}.{}", message.name());
        self.findings.require(is_pascal_case(message.name()), || format!("{name} is not PascalCase"));
        self.comment(path, &name);
        for (index, field) in message.field.iter().enumerate() {
            let field_name = format!("{name}.{}", field.name());
            self.findings
                .require(is_lower_snake_case(field.name()), || format!("{field_name} is not lower_snake_case"));
            self.comment(&child(path, MESSAGE_FIELD, index), &field_name);
        }
        let synthetic: HashSet<i32> = message
            .field
            .iter()
            .filter(|field| field.proto3_optional())
            .filter_map(|field| field.oneof_index)
            .collect();
        for (index, oneof) in message.oneof_decl.iter().enumerate() {
            if synthetic.contains(&number(index)) {
                continue;
            }
            let oneof_name = format!("{name}.{}", oneof.name());
            self.findings
                .require(is_lower_snake_case(oneof.name()), || format!("{oneof_name} is not lower_snake_case"));
            self.comment(&child(path, MESSAGE_ONEOF, index), &oneof_name);
        }
        for (index, nested) in message.nested_type.iter().enumerate() {
            self.message(nested, &child(path, MESSAGE_NESTED, index), &name);
        }
        for (index, nested) in message.enum_type.iter().enumerate() {
            self.enumeration(nested, &child(path, MESSAGE_ENUM, index), &name);
        }
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptorProto, path: &[i32], scope: &str) {
        let name = format!("{scope}.{}", enumeration.name());
        self.findings.require(is_pascal_case(enumeration.name()), || format!("{name} is not PascalCase"));
        self.comment(path, &name);
        let prefix = format!("{}_", upper_snake_case(enumeration.name()));
        for (index, value) in enumeration.value.iter().enumerate() {
            let value_name = format!("{name}.{}", value.name());
            self.comment(&child(path, ENUM_VALUE, index), &value_name);
            self.findings
                .require(value.name().starts_with(&prefix), || format!("{value_name} has no prefix {prefix}"));
            let is_zero_name = value.name() == format!("{prefix}UNSPECIFIED");
            self.findings.require((value.number() == 0) == is_zero_name, || {
                format!("{value_name}: the value 0, and only it, is called {prefix}UNSPECIFIED")
            });
        }
    }

    fn service(&mut self, service: &ServiceDescriptorProto, path: &[i32], seen: &mut HashSet<String>) {
        let name = service.name();
        self.findings.require(name.ends_with("Service"), || format!("{name} does not end in Service"));
        self.comment(path, name);
        for (index, method) in service.method.iter().enumerate() {
            let method_name = format!("{name}.{}", method.name());
            self.findings.require(is_pascal_case(method.name()), || format!("{method_name} is not PascalCase"));
            self.comment(&child(path, SERVICE_METHOD, index), &method_name);
            for (used, suffix) in [(method.input_type(), "Request"), (method.output_type(), "Response")] {
                let expected = format!(".{PACKAGE}.{}{suffix}", method.name());
                self.findings
                    .require(used == expected, || format!("{method_name} uses {used}, not {expected}"));
                self.findings
                    .require(seen.insert(used.to_owned()), || format!("{used} is used by two methods"));
            }
        }
    }
}

fn child(path: &[i32], field: i32, index: usize) -> Vec<i32> {
    [path, &[field, number(index)]].concat()
}

fn number(index: usize) -> i32 {
    i32::try_from(index).expect("a descriptor has few children")
}

fn is_pascal_case(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_lower_snake_case(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.contains("__")
        && !name.ends_with('_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn upper_snake_case(pascal: &str) -> String {
    let mut out = String::new();
    for c in pascal.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

fn lint(descriptors: &FileDescriptorSet) -> Vec<String> {
    let mut findings = Findings::default();
    let mut used_messages = HashSet::new();
    for file in descriptors.file.iter().filter(|file| file.package() == PACKAGE) {
        let file_name = file.name().strip_prefix("highwater/v1/").unwrap_or_default();
        let stem = file_name.strip_suffix(".proto").unwrap_or_default();
        findings.require(is_lower_snake_case(stem), || {
            format!("{} is not highwater/v1/<snake_case>.proto", file.name())
        });
        findings.require(file.syntax() == "proto3", || format!("{} is not proto3", file.name()));
        let comments = file.source_code_info.iter().flat_map(|info| &info.location);
        let comments = comments
            .filter_map(|location| Some((location.path.clone(), location.leading_comments.clone()?)))
            .collect();
        let mut lint = Lint { file, comments, findings: &mut findings };
        for (index, message) in file.message_type.iter().enumerate() {
            lint.message(message, &[FILE_MESSAGE, number(index)], PACKAGE);
        }
        for (index, enumeration) in file.enum_type.iter().enumerate() {
            lint.enumeration(enumeration, &[FILE_ENUM, number(index)], PACKAGE);
        }
        for (index, service) in file.service.iter().enumerate() {
            lint.service(service, &[FILE_SERVICE, number(index)], &mut used_messages);
        }
    }
    findings.0
}

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(highwater_proto::DESCRIPTORS).expect("the descriptor set decodes")
}

#[test]
fn the_api_follows_bufs_standard_rules_and_comments_everything() {
    let descriptors = descriptors();
    let files: Vec<_> = descriptors.file.iter().map(FileDescriptorProto::name).collect();
    assert!(files.contains(&"highwater/v1/log_service.proto"), "{files:?}");
    let findings = lint(&descriptors);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn the_lint_finds_what_it_is_for() {
    let mut descriptors = descriptors();
    let file =
        descriptors.file.iter_mut().find(|file| file.name().ends_with("records.proto")).expect("records.proto");
    file.message_type[0].field[0].name = Some("Key".to_owned());
    file.enum_type[0].value[1].name = Some("BATCHES".to_owned());
    file.source_code_info = None;
    let findings = lint(&descriptors).join("\n");
    for expected in
        ["Record.Key is not lower_snake_case", "RecordFormat.BATCHES has no prefix", "Header has no comment"]
    {
        assert!(findings.contains(expected), "{expected} is missing in\n{findings}");
    }
}

#[test]
fn every_file_of_the_api_is_compiled() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/highwater/v1");
    let compiled: HashSet<_> = descriptors().file.iter().map(|file| file.name().to_owned()).collect();
    for entry in std::fs::read_dir(folder).expect("the API's folder") {
        let name = entry.expect("a directory entry").file_name().into_string().expect("an ASCII name");
        assert!(compiled.contains(&format!("highwater/v1/{name}")), "{name} is not in build.rs");
    }
}
