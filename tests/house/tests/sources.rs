//! What every source file and every manifest of the workspace has in common.

use std::fs;
use std::path::{Path, PathBuf};

use highwater_house::{Workspace, code_only, files_with_extension, root};

/// The only place with unsafe code: the crate's own directory, relative to the root.
const UNSAFE_LIVES_IN: &str = "crates/storage";

fn sources() -> Vec<(PathBuf, String)> {
    let root = root();
    let files = ["crates", "tests", "benches"]
        .into_iter()
        .map(|directory| root.join(directory))
        .filter(|directory| directory.is_dir())
        .flat_map(|directory| files_with_extension(&directory, "rs"));
    files
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.strip_prefix(&root).unwrap_or(&path).to_path_buf(), text)
        })
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

#[test]
fn unsafe_code_is_only_in_storage() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        if path.starts_with(UNSAFE_LIVES_IN) {
            continue;
        }
        for (number, line) in code_only(&text).lines().enumerate() {
            if has_word(line, "unsafe") {
                found.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "unsafe code outside {UNSAFE_LIVES_IN}:\n  {}", found.join("\n  "));
}

#[test]
fn every_source_file_says_first_what_it_owns() {
    let opens_well = |path: &Path, text: &str| {
        let is_build_script = path.file_name().is_some_and(|name| name == "build.rs");
        // A libFuzzer target has no main of its own, and must say so before anything else.
        let text = text.trim_start_matches("#![no_main]\n");
        text.starts_with("//!") || (is_build_script && text.starts_with("//"))
    };
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|(path, text)| !opens_well(path, text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(found.is_empty(), "these files do not open with //!:\n  {}", found.join("\n  "));
}

#[test]
fn every_member_takes_the_lints_and_the_package_fields_of_the_workspace() {
    let workspace = Workspace::read().expect("cargo describes the workspace");
    assert!(!workspace.packages.is_empty());
    let mut wrong = Vec::new();
    for member in workspace.packages {
        let text = fs::read_to_string(&member.manifest_path).expect("cargo just read it");
        let mut lines = text.lines().map(str::trim);
        let inherits_lints =
            lines.any(|line| line == "[lints]") && lines.next().is_some_and(|line| line == "workspace = true");
        if !inherits_lints {
            wrong.push(format!("{}: the lints", member.name));
        }
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            if !text.contains(&format!("\n{field}.workspace = true\n")) {
                wrong.push(format!("{}: {field}", member.name));
            }
        }
    }
    assert!(wrong.is_empty(), "not taken from the workspace:\n  {}", wrong.join("\n  "));
}

#[test]
fn every_rule_that_a_comment_refers_to_is_in_architecture_md() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let rules: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| R"))
        .filter_map(|row| row.split([' ', '|']).next())
        .collect();
    assert!(!rules.is_empty(), "ARCHITECTURE.md has no table of rules");
    let mut unknown = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.contains("//")) {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            for rule in words.filter_map(|word| word.strip_prefix('R')) {
                let is_rule = !rule.is_empty() && rule.len() <= 2 && rule.bytes().all(|b| b.is_ascii_digit());
                if is_rule && !rules.contains(&rule) {
                    unknown.push(format!("{}:{}: R{rule}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "rules that ARCHITECTURE.md does not have:\n  {}", unknown.join("\n  "));
}

#[test]
fn known_bugs_can_be_switched_on_in_the_simulation_and_model_checks_only() {
    let workspace = Workspace::read().expect("cargo describes the workspace");
    let mut wrong = Vec::new();
    for member in workspace.packages {
        let text = fs::read_to_string(&member.manifest_path).expect("cargo just read it");
        for line in
            text.lines().map(str::trim).filter(|line| line.contains("mutants") && !line.starts_with('#'))
        {
            let allowed = match member.name.as_str() {
                "highwater-types" => "mutants = []",
                "simulation" | "highwater-groups" => "mutants = [\"highwater-types/mutants\"]",
                _ => "",
            };
            if line != allowed {
                wrong.push(format!("{}: {line}", member.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "the feature `mutants` is for tests/simulation and model checks alone:\n  {}",
        wrong.join("\n  ")
    );
}
