//! Links and headings of Markdown documents, outside code.

use std::collections::BTreeSet;

/// A link in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The line it stands on, from 1.
    pub line: usize,
    /// The path, empty for a place in the same document.
    pub path: String,
    /// The heading, when it names one.
    pub anchor: Option<String>,
}

/// The document's links to other files and places of the repository; links to the web are not among them.
pub fn links(document: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, text) in prose(document) {
        let text = without_code(text);
        for piece in text.split("](").skip(1) {
            let target = piece.split([')', ' ']).next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = match target.split_once('#') {
                Some((path, anchor)) => (path, Some(anchor.to_owned())),
                None => (target, None),
            };
            found.push(Link { line, path: path.to_owned(), anchor });
        }
    }
    found
}

/// The names under which the document's headings can be linked to, as GitHub forms them.
pub fn anchors(document: &str) -> BTreeSet<String> {
    prose(document)
        .filter_map(|(_, line)| line.strip_prefix('#'))
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

/// What stands between backticks in the lines below a heading, up to the next heading; each line's pieces together.
pub fn code_below(document: &str, heading: &str) -> Vec<Vec<String>> {
    let below = prose(document).map(|(_, line)| line).skip_while(|line| *line != heading).skip(1);
    let section = below.take_while(|line| !line.starts_with('#'));
    section.map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect()).collect()
}

/// The lines outside fenced blocks, numbered from 1.
fn prose(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    document.lines().enumerate().filter_map(move |(number, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        (!is_fenced && !is_fence).then_some((number + 1, line))
    })
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Link, anchors, code_below, links};

    #[test]
    fn only_links_into_the_repository_outside_code_are_found() {
        let document = "[a](b.md#part) `[x](y)` [web](https://example.org)\n```\n[c](d)\n```\n[here](#top)";
        let expected = [
            Link { line: 1, path: "b.md".into(), anchor: Some("part".into()) },
            Link { line: 5, path: String::new(), anchor: Some("top".into()) },
        ];
        assert_eq!(links(document), expected);
    }

    #[test]
    fn headings_become_anchors_as_on_the_web() {
        let found = anchors("# What it is\n## `acks`, and why\n```\n# comment\n```\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["acks-and-why", "what-it-is"]);
    }

    #[test]
    fn code_is_found_line_by_line_below_its_heading_only() {
        let document = "# one\n`a`\n# two\n| `b` and `c` |\ntext\n# three\n`d`\n";
        let expected = [vec!["b".to_owned(), "c".to_owned()], Vec::new()];
        assert_eq!(code_below(document, "# two"), expected);
    }
}
