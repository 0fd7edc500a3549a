//! What the replicas of a partition hold on their disks, held against each other.
//!
//! Segments have committed batches only, so that of two replicas one has what the other has, and perhaps more: byte for byte,
//! offsets and epochs included.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::Machine;

/// A directory of a partition, and its segments by base offset.
type Partitions = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

fn partitions(machine: &Machine) -> Partitions {
    let mut partitions = Partitions::new();
    for path in machine.disk.files() {
        let is_segment = path.starts_with("topics/") && path.ends_with(".log");
        if let Some((directory, name)) = path.rsplit_once('/').filter(|_| is_segment) {
            let bytes = machine.disk.read_cached(&path).unwrap_or_default();
            partitions.entry(directory.to_owned()).or_default().insert(name.to_owned(), bytes);
        }
    }
    partitions
}

/// How far the replicas are, and what contradicts: `Ok(true)` when all that have a partition have the same of it.
///
/// # Errors
/// What two of them have at one place.
pub(crate) fn compare(machines: &[Arc<Machine>]) -> Result<bool, String> {
    let mut all_equal = true;
    let mut longest: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
    for machine in machines {
        for (directory, segments) in partitions(machine) {
            let bytes: Vec<u8> = segments.into_values().flatten().collect();
            let Some((other, known)) = longest.get(&directory) else {
                longest.insert(directory, (machine.name.clone(), bytes));
                continue;
            };
            all_equal &= known.len() == bytes.len();
            let common = known.len().min(bytes.len());
            if known[..common] != bytes[..common] {
                let at = known.iter().zip(&bytes).position(|(a, b)| a != b).unwrap_or(0);
                return Err(format!(
                    "replicas: {directory} differs on {other} and {} from byte {at} on",
                    machine.name
                ));
            }
            if bytes.len() > known.len() {
                longest.insert(directory, (machine.name.clone(), bytes));
            }
        }
    }
    // Whoever waits for equal replicas waits for some.
    Ok(all_equal && !longest.is_empty())
}
