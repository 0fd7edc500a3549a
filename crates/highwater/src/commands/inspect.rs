//! `highwater inspect [DIR]`: what a stopped node's data directory holds, and everything that is wrong with it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use highwater_controller::MetadataState;
use highwater_storage::directory::locked_by;
use highwater_storage::disk::{Disk, RealDisk};
use highwater_storage::inspect::{GroupSummary, Inspection, inspect};
use highwater_storage::journal::scan::Ending;
use highwater_storage::segment::SegmentBatches;
use highwater_types::{FilePosition, GroupId, TopicId};
use serde_json::{Value, json};

use crate::cli::OutputFormat;
use crate::error::CliError;
use crate::output::{print_json, print_text};

/// Arguments of `highwater inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The data directory
    #[arg(default_value = "highwater-data")]
    dir: PathBuf,
    /// Also list every batch of every segment
    #[arg(long)]
    batches: bool,
}

/// Prints the inspection.
///
/// # Errors
/// When there is nothing to look at, or something is wrong with it.
pub(crate) fn run(args: &InspectArgs, format: OutputFormat) -> Result<(), CliError> {
    // A missing directory, a file in its place and one that is not ours to read each say so themselves.
    std::fs::read_dir(&args.dir)
        .map_err(|cause| CliError::Input { name: args.dir.display().to_string(), cause })?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(args.dir.clone()));
    let inspection = inspect(&disk, &args.dir)?;
    let view = View { names: topic_names(&inspection), in_use: locked_by(&args.dir), disk, args, inspection };
    match format {
        OutputFormat::Table => {
            let mut text = Vec::new();
            view.print_table(&mut text)?;
            print_text(&String::from_utf8_lossy(&text))?;
        }
        OutputFormat::Json => print_json(&view.to_json())?,
    }
    match view.inspection.findings.len() {
        0 => Ok(()),
        problems => Err(CliError::Damaged { directory: args.dir.clone(), problems }),
    }
}

/// The names of the topics, as the metadata group's state and the journal after it have them.
fn topic_names(inspection: &Inspection) -> BTreeMap<TopicId, String> {
    let metadata = inspection.groups.iter().find(|group| group.id == GroupId::Metadata);
    let Some(group) = metadata else { return BTreeMap::new() };
    let mut state = match group.state.is_empty() {
        true => MetadataState::default(),
        false => MetadataState::restore(&group.state).unwrap_or_default(),
    };
    for command in &group.journal_commands {
        // One that this version does not know costs names, nothing else.
        let _ = state.apply_encoded(command);
    }
    state.image().topics().map(|topic| (topic.id, topic.name.to_string())).collect()
}

struct View<'a> {
    names: BTreeMap<TopicId, String>,
    in_use: Option<u32>,
    disk: Arc<dyn Disk>,
    args: &'a InspectArgs,
    inspection: Inspection,
}

impl View<'_> {
    fn group_name(&self, id: GroupId) -> String {
        match id {
            GroupId::Metadata => "metadata".to_owned(),
            GroupId::Partition(partition) => match self.names.get(&partition.topic) {
                Some(name) => format!("{name}-{}", partition.index),
                None => partition.to_string(),
            },
        }
    }

    /// By the names of their topics, whichever of them the checkpoint or the journal has first.
    fn partitions(&self) -> Vec<&GroupSummary> {
        let named = |group: &GroupSummary| match group.id {
            GroupId::Metadata => None,
            GroupId::Partition(id) => Some((self.names.get(&id.topic), group.id)),
        };
        let mut partitions: Vec<_> =
            self.inspection.groups.iter().filter(|group| named(group).is_some()).collect();
        partitions.sort_by_key(|group| named(group));
        partitions
    }

    fn print_table(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(pid) = self.in_use {
            writeln!(
                out,
                "NOTE: process {pid} has this directory open; what follows may be out of date or look torn\n"
            )?;
        }
        let root = self.args.dir.display();
        match &self.inspection.identity {
            Some(id) => writeln!(
                out,
                "{root}: node {} of cluster {}, incarnation {}",
                id.node, id.cluster, id.incarnation
            )?,
            None => writeln!(out, "{root}: the identity cannot be read")?,
        }
        if let Some(checkpoint) = &self.inspection.checkpoint {
            writeln!(
                out,
                "checkpoint: number {}, journal durable up to LSN {}",
                checkpoint.sequence, checkpoint.durable_lsn
            )?;
        }
        if let Some(journal) = &self.inspection.journal {
            let ending = Journal::of(&journal.ending).ending;
            writeln!(
                out,
                "journal: {} files, {} groups with {} frames ({} bytes) after the checkpoint; {ending}",
                journal.files.len(),
                journal.groups,
                journal.frames,
                journal.payload_bytes
            )?;
        }
        for group in self.partitions() {
            self.print_group(group, out)?;
        }
        writeln!(out)?;
        if self.inspection.findings.is_empty() {
            return writeln!(out, "nothing is wrong");
        }
        let problems = self.inspection.findings.len();
        writeln!(out, "{problems} PROBLEM{}", if problems == 1 { "" } else { "S" })?;
        self.inspection.findings.iter().try_for_each(|finding| writeln!(out, "  {finding}"))
    }

    fn print_group(&self, group: &GroupSummary, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "\n{}  ({})\n  offsets {} up to {} in segments, {} more entries in the journal",
            self.group_name(group.id),
            group.directory.display(),
            group.log_start,
            group.next_offset,
            group.journal_entries
        )?;
        for segment in &group.segments {
            let state = if segment.sealed { "sealed" } else { "active" };
            let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
            let (base, next, bytes) = (segment.base_offset, segment.next_offset, segment.bytes);
            writeln!(out, "  {name}  {state}  offsets {base} up to {next}  {bytes} bytes")?;
            if self.args.batches {
                self.print_batches(&segment.path, segment.bytes, out)?;
            }
        }
        Ok(())
    }

    fn print_batches(&self, path: &Path, bytes: u64, out: &mut dyn Write) -> io::Result<()> {
        match SegmentBatches::open(&self.disk, path, Some(FilePosition(bytes))) {
            Err(error) => writeln!(out, "    {error}"),
            Ok(batches) => batches.into_iter().try_for_each(|batch| match batch {
                Ok(batch) => writeln!(
                    out,
                    "    at {:>10}  offset {:>10}  {:>6} records  {:>8} bytes  epoch {}  {}  producer {}  {}",
                    batch.position,
                    batch.base_offset,
                    batch.record_count,
                    batch.size_in_bytes,
                    batch.leader_epoch,
                    batch.compression.name(),
                    batch.producer_id,
                    if batch.checksum_is_right { "crc ok" } else { "CRC WRONG" }
                ),
                Err(finding) => writeln!(out, "    {finding}"),
            }),
        }
    }

    fn to_json(&self) -> Value {
        let inspection = &self.inspection;
        let partitions: Vec<Value> =
            self.partitions().into_iter().map(|group| self.group_json(group)).collect();
        json!({
            "directory": self.args.dir,
            "in_use_by_pid": self.in_use,
            "node": inspection.identity.as_ref().map(|id| id.node.0),
            "cluster": inspection.identity.as_ref().map(|id| id.cluster.to_string()),
            "incarnation": inspection.identity.as_ref().map(|id| id.incarnation.to_string()),
            "checkpoint": inspection.checkpoint.as_ref().map(|checkpoint| json!({
                "sequence": checkpoint.sequence,
                "durable_lsn": checkpoint.durable_lsn,
            })),
            "journal": inspection.journal.as_ref().map(|journal| json!({
                "files": journal.files.iter().map(|(path, bytes)| json!({"path": path, "bytes": bytes})).collect::<Vec<_>>(),
                "groups": journal.groups,
                "frames": journal.frames,
                "payload_bytes": journal.payload_bytes,
                "ending": Journal::of(&journal.ending).kind,
            })),
            "partitions": partitions,
            "problems": inspection.findings,
        })
    }

    fn group_json(&self, group: &GroupSummary) -> Value {
        let segments = group.segments.iter().map(|segment| {
            let mut value = json!({
                "path": segment.path,
                "base_offset": segment.base_offset,
                "next_offset": segment.next_offset,
                "bytes": segment.bytes,
                "sealed": segment.sealed,
            });
            if self.args.batches {
                value["batches"] = self.batches_json(&segment.path, segment.bytes);
            }
            value
        });
        json!({
            "partition": self.group_name(group.id),
            "directory": group.directory,
            "log_start": group.log_start,
            "next_offset": group.next_offset,
            "journal_entries": group.journal_entries,
            "segments": segments.collect::<Vec<_>>(),
        })
    }

    fn batches_json(&self, path: &Path, bytes: u64) -> Value {
        let Ok(batches) = SegmentBatches::open(&self.disk, path, Some(FilePosition(bytes))) else {
            return Value::Null;
        };
        let described = batches.into_iter().map_while(Result::ok).map(|batch| {
            json!({
                "position": batch.position.0,
                "base_offset": batch.base_offset.0,
                "records": batch.record_count,
                "bytes": batch.size_in_bytes,
                "leader_epoch": batch.leader_epoch.0,
                "compression": batch.compression.name(),
                "producer_id": batch.producer_id.0,
                "checksum_is_right": batch.checksum_is_right,
            })
        });
        described.collect()
    }
}

/// How the journal ends, for people and for programs.
struct Journal {
    kind: &'static str,
    ending: String,
}

impl Journal {
    fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Clean => Self { kind: "clean", ending: "it ends cleanly".to_owned() },
            Ending::Torn(at) => {
                let ending =
                    format!("it ends in a group that was never finished, at {at} (expected after a crash)");
                Self { kind: "torn", ending }
            }
            Ending::Corrupt(corruption) => Self { kind: "corrupt", ending: corruption.to_string() },
        }
    }
}

#[cfg(test)]
mod tests;
