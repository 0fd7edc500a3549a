//! The one rule for paths on a disk: relative to the root, of normal components only.

use std::io;
use std::path::{Component, Path};

/// Longest path below the root, in bytes, so that it fits a file name of its own when a
/// damaged segment is marked (see [`super::sigbus`]).
pub(crate) const PATH_BYTES_MAX: usize = 255;

/// The components of `path`; empty for the root.
///
/// # Errors
/// `InvalidInput` when the path is absolute, climbs, is not UTF-8 or is longer than [`PATH_BYTES_MAX`].
pub(crate) fn components(path: &Path) -> io::Result<Vec<&str>> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    path.components()
        .map(|component| match component {
            Component::Normal(name) => name.to_str().ok_or_else(|| io::ErrorKind::InvalidInput.into()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        })
        .collect()
}

/// The directory that holds `path`; the empty path for what lies in the root.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_taken() {
        assert_eq!(components(Path::new("a/b")).unwrap(), ["a", "b"]);
        assert!(components(Path::new("")).unwrap().is_empty());
        for bad in ["/a", "../a", "a/../b"] {
            assert!(components(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
