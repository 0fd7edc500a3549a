//! Compares what the nodes have on their disks, when they are stopped: the same batch at the same offset, byte for byte.
//!
//! It reads the segment files by itself. A batch begins with its base offset and the length of what follows, both big-endian:
//!
//! ```text
//! 0        8       12
//! ┌────────┬───────┬──────────────┐
//! │ offset │ bytes │ bytes ...    │
//! └────────┴───────┴──────────────┘
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use highwater_crash::CrashError;

/// The bytes before what the length counts.
const HEAD_BYTES: usize = 12;

/// The files of one partition on one node, from the first offset on.
type Segments = BTreeMap<String, PathBuf>;

/// How replicas compare.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Batches that are on more than one node.
    pub compared: u64,
    /// What differs, in words.
    pub differences: Vec<String>,
}

/// Compares the data directories of all nodes.
///
/// # Errors
/// When a file cannot be read.
pub fn compare(directories: &[(u8, PathBuf)]) -> Result<Comparison, CrashError> {
    let mut partitions: BTreeMap<PathBuf, Vec<(u8, Segments)>> = BTreeMap::new();
    for (node, directory) in directories {
        let topics = directory.join("topics");
        for topic in entries(&topics)? {
            for partition in entries(&topic)? {
                let name = partition.strip_prefix(&topics).unwrap_or(&partition).to_path_buf();
                partitions.entry(name).or_default().push((*node, segments(&partition)?));
            }
        }
    }
    let mut comparison = Comparison::default();
    for (partition, replicas) in partitions {
        let mut seen: BTreeMap<i64, (u8, u64, usize)> = BTreeMap::new();
        for (node, segments) in replicas {
            for path in segments.values() {
                let bytes = fs::read(path).map_err(CrashError::io(format!("reading {}", path.display())))?;
                for (offset, batch) in batches(&bytes) {
                    let found = (node, fingerprint(batch), batch.len());
                    let Some(other) = seen.insert(offset, found) else { continue };
                    comparison.compared += 1;
                    if (other.1, other.2) != (found.1, found.2) {
                        let place = partition.display();
                        comparison.differences.push(format!(
                            "{place} at {offset}: {} bytes on node {}, {} on node {node}",
                            other.2, other.0, found.2
                        ));
                    }
                }
            }
        }
    }
    Ok(comparison)
}

/// The whole batches at the start of a segment file; behind the last one there is room.
fn batches(mut bytes: &[u8]) -> impl Iterator<Item = (i64, &[u8])> {
    std::iter::from_fn(move || {
        let offset = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let length = i32::from_be_bytes(bytes.get(8..HEAD_BYTES)?.try_into().ok()?);
        let length = usize::try_from(length).ok().filter(|length| *length > 0)?;
        let batch = bytes.get(..HEAD_BYTES + length)?;
        bytes = &bytes[batch.len()..];
        Some((offset, batch))
    })
}

/// FNV-1a, which is enough to tell batches apart that nobody made alike.
fn fingerprint(batch: &[u8]) -> u64 {
    batch
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn segments(partition: &Path) -> Result<Segments, CrashError> {
    let logs =
        entries(partition)?.into_iter().filter(|path| path.extension().is_some_and(|name| name == "log"));
    Ok(logs.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path.clone()))).collect())
}

/// What is in a directory; nothing when there is none.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, CrashError> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let reading = || format!("reading {}", directory.display());
    let found = fs::read_dir(directory).map_err(CrashError::io(reading()))?;
    found.map(|entry| Ok(entry.map_err(CrashError::io(reading()))?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(offset: i64, body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len()).unwrap();
        [&offset.to_be_bytes()[..], &length.to_be_bytes()[..], body].concat()
    }

    fn node(directory: &Path, number: u8, bytes: &[u8]) -> (u8, PathBuf) {
        let own = directory.join(format!("node-{number}"));
        fs::create_dir_all(own.join("topics/t/0")).unwrap();
        fs::write(own.join("topics/t/0/00.log"), bytes).unwrap();
        (number, own)
    }

    #[test]
    fn one_byte_that_differs_is_found_and_a_shorter_replica_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (batch(0, b"first"), batch(3, b"second"));
        let whole = node(directory.path(), 1, &[&first[..], &second, &[0; 64]].concat());
        let short = node(directory.path(), 2, &first);
        let compared = compare(&[whole.clone(), short]).unwrap();
        assert_eq!(compared, Comparison { compared: 1, differences: Vec::new() });
        let damaged = node(directory.path(), 3, &[&first[..], &batch(3, b"Second")].concat());
        let compared = compare(&[whole, damaged]).unwrap();
        assert_eq!(compared.compared, 2);
        assert!(compared.differences[0].starts_with("t/0 at 3:"), "{compared:?}");
    }
}
