//! What the replicas of a partition hold on their disks, held against each other.
//!
//! Segments have committed batches only, so that at one offset all replicas that have it have the same batch: byte for byte, offset
//! and epoch included.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_records::split_batches;

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

/// The batches of a replica by their first offset. Replicas may begin at different ones.
struct Log {
    batches: BTreeMap<i64, Vec<u8>>,
    /// The offset after the last.
    end: i64,
}

impl Log {
    fn new(segments: BTreeMap<String, Vec<u8>>) -> Result<Self, String> {
        let mut log = Self { batches: BTreeMap::new(), end: 0 };
        for (name, bytes) in segments {
            let base: i64 = name.trim_end_matches(".log").parse().unwrap_or(0);
            log.end = log.end.max(base);
            for batch in split_batches(bytes.into()) {
                let batch = batch.map_err(|error| format!("replicas: {name}: {error}"))?;
                log.end = log.end.max(batch.next_offset().0);
                log.batches.insert(batch.base_offset().0, batch.bytes().to_vec());
            }
        }
        Ok(log)
    }
}

/// How far the replicas are, and what contradicts: `Ok(true)` when all that have a partition have the same of it.
///
/// # Errors
/// What two of them have at one place.
pub(crate) fn compare(
    machines: &[Arc<Machine>],
    topic_ids: &[String],
    damaged: Option<usize>,
) -> Result<bool, String> {
    let mut all_equal = true;
    let mut longest: BTreeMap<String, (String, Log)> = BTreeMap::new();
    let whole = machines.iter().enumerate().filter(|(index, _)| Some(*index) != damaged);
    for (_, machine) in whole {
        for (directory, segments) in partitions(machine) {
            if !topic_ids.iter().any(|id| directory.contains(id.as_str())) {
                continue;
            }
            let log = Log::new(segments)?;
            let Some((other, known)) = longest.get_mut(&directory) else {
                longest.insert(directory, (machine.name.clone(), log));
                continue;
            };
            all_equal &= known.end == log.end;
            for (offset, batch) in &log.batches {
                if known.batches.get(offset).is_some_and(|same| same != batch) {
                    return Err(format!(
                        "replicas: {directory} differs on {other} and {} at {offset}",
                        machine.name
                    ));
                }
            }
            known.end = known.end.max(log.end);
            known.batches.extend(log.batches);
        }
    }
    // Whoever waits for equal replicas waits for some.
    Ok(all_equal && !longest.is_empty())
}
