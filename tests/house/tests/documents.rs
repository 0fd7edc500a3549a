//! Every link between the repository's documents leads somewhere.

use std::fs;
use std::path::Path;

use highwater_house::{anchors, files_with_extension, links, root};

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
