//! The two blocks of ARCHITECTURE.md that the layering test reads.
//!
//! ````text
//! ```arrows
//! server  -> broker storage types      a crate may depend on these, and does
//! client  ~> server                    only its tests may
//! ```
//!
//! ```knowledge
//! openraft: consensus                  only these crates may depend on the library
//! ```
//! ````

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Names, keyed by who has the arrow.
type Names = BTreeMap<String, BTreeSet<String>>;

/// The arrows between crates, and who alone may know a library.
#[derive(Debug, Default)]
pub struct Arrows {
    /// From a crate to the crates that it depends on.
    pub crates: Names,
    /// From a crate to the crates that only its tests depend on.
    pub tests: Names,
    /// From a library to the crates that know it.
    pub knowledge: Names,
}

/// Why a document's blocks could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum ArrowsError {
    /// A block is not there.
    Missing(&'static str),
    /// A line that is no arrow.
    Line(String),
    /// A name that stands left twice.
    Twice(String),
}

impl fmt::Display for ArrowsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(block) => write!(f, "there is no block ```{block}"),
            Self::Line(line) => write!(f, "this line is no arrow: {line}"),
            Self::Twice(name) => write!(f, "two lines begin with {name}"),
        }
    }
}

impl Arrows {
    /// Reads the blocks of a document.
    ///
    /// # Errors
    /// See [`ArrowsError`].
    pub fn parse(document: &str) -> Result<Self, ArrowsError> {
        let mut arrows = Self::default();
        for line in block(document, "arrows")? {
            match (line.split_once("->"), line.split_once("~>")) {
                (Some((from, to)), None) => add(&mut arrows.crates, from, to)?,
                (None, Some((from, to))) => add(&mut arrows.tests, from, to)?,
                _ => return Err(ArrowsError::Line(line.to_owned())),
            }
        }
        for line in block(document, "knowledge")? {
            let (library, crates) = line.split_once(':').ok_or_else(|| ArrowsError::Line(line.to_owned()))?;
            add(&mut arrows.knowledge, library, crates)?;
        }
        Ok(arrows)
    }

    /// The crates that can be reached from one by its arrows, itself not among them.
    pub fn below(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![from.to_owned()];
        while let Some(name) = waiting.pop() {
            for next in self.crates.get(&name).into_iter().flatten() {
                if reached.insert(next.clone()) {
                    waiting.push(next.clone());
                }
            }
        }
        reached
    }
}

fn block<'a>(document: &'a str, name: &'static str) -> Result<Vec<&'a str>, ArrowsError> {
    let opening = format!("```{name}");
    let mut lines = document.lines().skip_while(|line| line.trim_end() != opening);
    lines.next().ok_or(ArrowsError::Missing(name))?;
    Ok(lines.take_while(|line| line.trim_end() != "```").filter(|line| !line.trim().is_empty()).collect())
}

fn add(names: &mut Names, from: &str, to: &str) -> Result<(), ArrowsError> {
    let from = from.trim().to_owned();
    let to = to.split_whitespace().map(str::to_owned).collect();
    match names.insert(from.clone(), to) {
        None => Ok(()),
        Some(_) => Err(ArrowsError::Twice(from)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrows, ArrowsError};

    const DOCUMENT: &str = "words\n```arrows\ntop -> middle\nmiddle -> bottom\nbottom ->\nmiddle ~> top\n```\nmore\n\
                            ```knowledge\nlibrary: bottom middle\n```\n";

    #[test]
    fn a_document_gives_its_arrows() {
        let arrows = Arrows::parse(DOCUMENT).unwrap();
        assert_eq!(arrows.crates.len(), 3);
        assert!(arrows.crates["bottom"].is_empty());
        assert!(arrows.tests["middle"].contains("top"));
        assert_eq!(arrows.knowledge["library"].len(), 2);
        assert_eq!(arrows.below("top").into_iter().collect::<Vec<_>>(), ["bottom", "middle"]);
    }

    #[test]
    fn a_document_without_a_block_or_with_a_line_that_is_no_arrow_is_refused() {
        assert_eq!(Arrows::parse("no block").unwrap_err(), ArrowsError::Missing("arrows"));
        let doubled = DOCUMENT.replace("bottom ->", "top -> bottom");
        assert_eq!(Arrows::parse(&doubled).unwrap_err(), ArrowsError::Twice("top".into()));
        let broken = DOCUMENT.replace("bottom ->", "bottom");
        assert_eq!(Arrows::parse(&broken).unwrap_err(), ArrowsError::Line("bottom".into()));
    }
}
