//! The layers: who depends on whom, and who alone knows a library, as ARCHITECTURE.md says.
//!
//! When one of these fails, think hard about the layering before you change the document.

use std::collections::BTreeSet;
use std::fs;

use highwater_house::{Arrows, DependencyKind, Member, Workspace, root};

/// Packages under `tests/` and `benches/` stand above everything and may use any crate.
fn is_layer(member: &Member) -> bool {
    member.manifest_path.starts_with(root().join("crates"))
}

fn read() -> (Workspace, Arrows) {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let arrows = Arrows::parse(&document).unwrap_or_else(|error| panic!("ARCHITECTURE.md: {error}"));
    (Workspace::read().expect("cargo describes the workspace"), arrows)
}

/// The workspace's crates that a member depends on in the given way.
fn internal(
    workspace: &Workspace,
    member: &Member,
    is_kind: impl Fn(DependencyKind) -> bool,
) -> BTreeSet<String> {
    let ours = |name: &str| workspace.packages.iter().find(|package| package.name == name);
    let wanted = member.dependencies.iter().filter(|dependency| is_kind(dependency.kind));
    wanted
        .filter_map(|dependency| ours(&dependency.name))
        .map(|package| package.short_name().to_owned())
        .collect()
}

#[test]
fn crates_depend_on_each_other_exactly_along_the_arrows() {
    let (workspace, arrows) = read();
    let mut wrong = Vec::new();
    let layers: Vec<&Member> = workspace.packages.iter().filter(|member| is_layer(member)).collect();
    for member in &layers {
        let name = member.short_name();
        let found = internal(&workspace, member, |kind| kind != DependencyKind::Dev);
        let Some(allowed) = arrows.crates.get(name) else {
            wrong.push(format!("crate {name} is not in the block of arrows"));
            continue;
        };
        wrong.extend(found.difference(allowed).map(|to| format!("{name} -> {to} is not allowed")));
        wrong.extend(allowed.difference(&found).map(|to| format!("{name} -> {to} is drawn but not there")));
    }
    for name in arrows.crates.keys() {
        if !layers.iter().any(|member| member.short_name() == name) {
            wrong.push(format!("{name} is drawn but no crate"));
        }
    }
    assert!(wrong.is_empty(), "the crates and ARCHITECTURE.md differ:\n  {}", wrong.join("\n  "));
}

#[test]
fn tests_of_a_crate_use_what_is_below_it_or_drawn_for_tests() {
    let (workspace, arrows) = read();
    let mut wrong = Vec::new();
    for member in workspace.packages.iter().filter(|member| is_layer(member)) {
        let name = member.short_name();
        let mut allowed = arrows.below(name);
        allowed.extend(arrows.tests.get(name).into_iter().flatten().cloned());
        let found = internal(&workspace, member, |kind| kind == DependencyKind::Dev);
        wrong.extend(found.difference(&allowed).map(|to| format!("{name} ~> {to} is not allowed")));
    }
    assert!(wrong.is_empty(), "tests reach where ARCHITECTURE.md does not let them:\n  {}", wrong.join("\n  "));
}

#[test]
fn no_arrow_leads_back() {
    let (_, arrows) = read();
    for name in arrows.crates.keys() {
        assert!(!arrows.below(name).contains(name), "{name} can be reached from itself");
    }
}

#[test]
fn a_library_is_known_only_to_the_crates_that_own_it() {
    let (workspace, arrows) = read();
    let mut wrong = Vec::new();
    for (library, owners) in &arrows.knowledge {
        let mut known_to = BTreeSet::new();
        for member in workspace.packages.iter().filter(|member| is_layer(member)) {
            let is_used = |kind: DependencyKind| kind != DependencyKind::Dev;
            if member.dependencies.iter().any(|found| found.name == *library && is_used(found.kind)) {
                known_to.insert(member.short_name().to_owned());
            }
        }
        if known_to != *owners {
            wrong.push(format!("{library} is known to {known_to:?}, it should be to {owners:?}"));
        }
    }
    assert!(wrong.is_empty(), "the crates and ARCHITECTURE.md differ:\n  {}", wrong.join("\n  "));
}
