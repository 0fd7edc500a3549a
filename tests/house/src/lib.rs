//! What the house tests read: the workspace as cargo sees it, the arrows as ARCHITECTURE.md
//! draws them, and the repository's files.
//!
//! The tests hold the rules; nothing here judges. It reads files and runs `cargo metadata`, and
//! never builds, writes or asks the network.

mod arrows;
mod documents;
mod files;
mod source_text;
mod workspace;

pub use arrows::{Arrows, ArrowsError};
pub use documents::{Link, anchors, code_below, links};
pub use files::{files_with_extension, root};
pub use source_text::code_only;
pub use workspace::{Dependency, DependencyKind, Member, Workspace, WorkspaceError};
