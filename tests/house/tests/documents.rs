//! Every link between the repository's documents leads somewhere, and every test that they name exists.

use std::fs;
use std::path::Path;

use highwater_house::{anchors, code_below, files_with_extension, links, root};

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = root();
    let mut broken = Vec::new();
    for path in files_with_extension(&root, "md") {
        let document = fs::read_to_string(&path).expect("it was just listed");
        for link in links(&document) {
            let target = match link.path.as_str() {
                "" => path.clone(),
                relative => path.parent().unwrap_or(Path::new("")).join(relative),
            };
            let is_there = match &link.anchor {
                None => target.exists(),
                Some(anchor) => fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor)),
            };
            if !is_there {
                let shown = path.strip_prefix(&root).unwrap_or(&path).display();
                let anchor = link.anchor.map(|anchor| format!("#{anchor}")).unwrap_or_default();
                broken.push(format!("{shown}:{}: {}{anchor}", link.line, link.path));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n  {}", broken.join("\n  "));
}

#[test]
fn every_test_that_is_named_for_a_rule_exists() {
    let root = root();
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let mutants = read(&root.join("crates/types/src/mutant.rs"));
    let mut missing = Vec::new();
    let mut found = 0;
    for pieces in code_below(&read(&root.join("ARCHITECTURE.md")), "### Tests of the rules") {
        let file = pieces.iter().find(|piece| piece.ends_with(".rs"));
        let source = file.map(|file| match file.starts_with("tests/") {
            true => read(&root.join(file)),
            false => read(&root.join("crates").join(file)),
        });
        for name in pieces.iter().filter(|piece| !piece.contains(['/', '*'])) {
            let is_there = match &source {
                Some(source) => source.contains(&format!("fn {name}(")),
                // A known bug: `ack-before-fsync` is `AckBeforeFsync`.
                None => mutants.contains(&format!("Self::{},", camel_case(name))),
            };
            found += usize::from(is_there);
            missing.extend((!is_there).then(|| format!("{name} in {file:?}")));
        }
    }
    assert!(missing.is_empty(), "not there:\n  {}", missing.join("\n  "));
    assert!(found > 21, "only {found} tests for 21 rules");
}

fn camel_case(name: &str) -> String {
    let capitalized =
        |word: &str| word.chars().next().map(|first| first.to_uppercase().to_string() + &word[1..]);
    name.split('-').filter_map(capitalized).collect()
}
