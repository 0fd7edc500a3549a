//! How the last process that used the directory ended.
//!
//! ```text
//! highwater boot
//! format 1
//! state open                  clean, open or power-lost
//! boot_id 4bd1…               of the boot on which the process ran
//! epoch 1763729150123         of the process: greater than that of every one before
//! crc32c 8f00a1b2
//! ```
//!
//! `power-lost` stays until recovery has finished, however often the process dies on the way:
//! otherwise the second start after a power cut would take it for the death of a process.

use std::io;

use highwater_types::{ProcessEpoch, TimestampMs};

use super::layout::BOOT;
use super::sealed_text::{ReadError, SealedText};
use crate::disk::Disk;

/// The version of the boot record.
const FORMAT: u32 = 1;

/// How the last process that used a data directory ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It made everything durable and said so; or there was none, and the directory is new.
    Clean,
    /// It died, but the machine stayed up: everything that was written can be read. Part of it may still not be
    /// durable.
    ProcessDied,
    /// The machine went down, or that cannot be ruled out: what was not synced may be lost.
    PowerLost,
}

/// What the record says of the process that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Clean,
    Open,
    PowerLost,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Open => "open",
            Self::PowerLost => "power-lost",
        }
    }
}

/// What a process learns when it begins to use a directory.
pub(super) struct Begun {
    /// How the last one ended.
    pub(super) shutdown: Shutdown,
    /// This one's epoch.
    pub(super) epoch: ProcessEpoch,
}

/// Reads how the last process ended and records this one as open. `is_new` when the directory was just born.
pub(super) fn begin(disk: &dyn Disk, is_new: bool, now: TimestampMs) -> io::Result<Begun> {
    let mut previous = None;
    let shutdown = match SealedText::read(disk, BOOT) {
        _ if is_new => Shutdown::Clean,
        Ok(record) => {
            previous = record.field("epoch").and_then(|epoch| epoch.parse().ok());
            judge(&record, &disk.boot_id()?)
        }
        // Without the record nothing can be ruled out.
        Err(ReadError::Missing) => Shutdown::PowerLost,
        Err(ReadError::Damaged(problem)) => {
            tracing::warn!(problem, "the boot record is damaged: taking it that the power was lost");
            Shutdown::PowerLost
        }
        Err(ReadError::Io(error)) => return Err(error),
    };
    let state = if shutdown == Shutdown::PowerLost { State::PowerLost } else { State::Open };
    // The clock, so that an emptied directory goes on above what its predecessor had; the record, so that a clock which was set
    // back changes nothing.
    let by_clock = u64::try_from(now.0).unwrap_or(0);
    let epoch =
        ProcessEpoch(previous.map_or(by_clock, |previous: u64| by_clock.max(previous.saturating_add(1))));
    record(disk, state, epoch)?;
    Ok(Begun { shutdown, epoch })
}

/// Records the state, durably.
pub(super) fn record(disk: &dyn Disk, state: State, epoch: ProcessEpoch) -> io::Result<()> {
    let record = SealedText::new(FORMAT).with("state", state.name()).with("boot_id", disk.boot_id()?);
    record.with("epoch", epoch.to_string()).write(disk, BOOT)
}

fn judge(record: &SealedText, boot_id: &str) -> Shutdown {
    let state = record.field("state");
    if state == Some(State::Clean.name()) {
        Shutdown::Clean
    } else if state == Some(State::Open.name()) && record.field("boot_id") == Some(boot_id) {
        Shutdown::ProcessDied
    } else {
        Shutdown::PowerLost
    }
}
