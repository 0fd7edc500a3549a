//! The repository's files.

use std::fs;
use std::path::{Path, PathBuf};

/// What is not ours to judge: build output, data of a node, git's own, packages that an example fetches.
const SKIPPED: [&str; 5] = ["target", "highwater-data", ".git", "node_modules", ".venv"];

/// The repository's top level.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the package lies two levels below")
}

/// All files below `directory` with this extension, sorted.
pub fn files_with_extension(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        let entries =
            fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for entry in entries {
            let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
            let path = entry.path();
            // Build output of several builds may lie side by side: target, target-release.
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let skipped = SKIPPED.contains(&&*name) || name.starts_with("target-");
            let kind = entry.file_type().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if kind.is_dir() && !skipped {
                waiting.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
