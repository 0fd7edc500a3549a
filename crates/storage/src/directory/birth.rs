//! Whether a directory is ours, empty, half-made or foreign; and the making of a new one.
//!
//! Birth makes the skeleton first and the identity last, each durable before the next. So an
//! identity means that the skeleton is whole, and without one nothing but an empty skeleton and
//! temporary files may be there: a birth that was cut short is simply done again.
//!
//! A node that was made part of a cluster by command has one file more, from before its identity:
//!
//! ```text
//! highwater birth
//! format 1
//! ask 10.0.0.1:7400,10.0.0.2:7400   where nodes of its cluster are, for as long as it knows nothing else of it
//! crc32c 8f00a1b2
//! ```

use std::io;
use std::path::Path;

use highwater_types::{Clock, ClusterId, Incarnation, Random};

use super::DirectoryOptions;
use super::error::DirectoryError;
use super::identity::Identity;
use super::layout::{BIRTH, BOOT, IDENTITY, LOCK, LOST_AND_FOUND, SKELETON, TEMPORARY_SUFFIX};
use super::sealed_text::{ReadError, SealedText};
use crate::disk::Disk;

/// The version of the record of a birth.
const FORMAT: u32 = 1;
/// Most addresses in it.
const ADDRESSES_MAX: usize = 12;
/// Most bytes of an address in it: a host's name of 253 characters, and a port.
const ADDRESS_BYTES_MAX: usize = 260;

/// Most names that an error message lists.
const NAMES_SHOWN: usize = 3;

/// What a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survey {
    /// It has an identity.
    Ours,
    /// It is empty, missing, or was half-made: it can be born.
    Unborn,
}

/// Looks at the directory without touching it.
pub(super) fn survey(disk: &dyn Disk, root: &Path) -> Result<Survey, DirectoryError> {
    let failed = |source| DirectoryError::from_io(root, source);
    let names = match disk.list(Path::new("")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Survey::Unborn),
        names => names.map_err(failed)?,
    };
    if names.iter().any(|name| name == IDENTITY) {
        return Ok(Survey::Ours);
    }
    let foreign = show(names.iter().filter(|name| !is_known(name)));
    if !foreign.is_empty() {
        return Err(DirectoryError::Foreign { path: root.to_path_buf(), found: foreign });
    }
    let mut data: Vec<String> = names.iter().filter(|name| *name == BOOT).cloned().collect();
    for name in names.iter().filter(|name| SKELETON.contains(&name.as_str())) {
        match disk.list(Path::new(name)) {
            Ok(inside) => data.extend(inside.iter().map(|inside| format!("{name}/{inside}"))),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(DirectoryError::Foreign { path: root.to_path_buf(), found: name.clone() });
            }
            Err(error) => return Err(failed(error)),
        }
    }
    if !data.is_empty() {
        return Err(DirectoryError::IdentityMissing { path: root.to_path_buf(), found: show(data.iter()) });
    }
    Ok(Survey::Unborn)
}

/// Makes a new data directory where [`survey`] found none; durable on return.
pub(super) fn give_birth(
    disk: &dyn Disk,
    options: &DirectoryOptions,
    clock: &dyn Clock,
    random: &dyn Random,
) -> io::Result<Identity> {
    for name in SKELETON {
        disk.create_dir_all(Path::new(name))?;
    }
    if !options.ask.is_empty() {
        let fits = |address: &&String| address.len() <= ADDRESS_BYTES_MAX && !address.contains(['\n', ',']);
        let ask: Vec<&str> = options.ask.iter().filter(fits).take(ADDRESSES_MAX).map(String::as_str).collect();
        SealedText::new(FORMAT).with("ask", ask.join(",")).write(disk, BIRTH)?;
    }
    let identity = Identity {
        founder: options.cluster.is_none() || options.founds,
        cluster: options.cluster.unwrap_or_else(|| ClusterId::draw(random)),
        node: options.node,
        incarnation: Incarnation(random.next_u64()),
        created: clock.now(),
        replaces: None,
    };
    identity.write(disk)?;
    Ok(identity)
}

/// Whom a node may ask for its cluster, as it was told at its birth. Hints only: without them it has its configuration's.
pub(super) fn whom_to_ask(disk: &dyn Disk) -> io::Result<Vec<String>> {
    match SealedText::read(disk, BIRTH) {
        Ok(record) => {
            let ask = record.field("ask").unwrap_or_default();
            Ok(ask.split(',').filter(|address| !address.is_empty()).map(str::to_owned).collect())
        }
        Err(ReadError::Missing) => Ok(Vec::new()),
        Err(ReadError::Damaged(problem)) => {
            tracing::warn!(
                problem,
                "the record of this node's birth is damaged: it asks its configured seeds only"
            );
            Ok(Vec::new())
        }
        Err(ReadError::Io(error)) => Err(error),
    }
}

/// Refuses a directory that has an identity but lost a part of its skeleton.
pub(super) fn check_skeleton(disk: &dyn Disk, root: &Path) -> Result<(), DirectoryError> {
    for name in SKELETON {
        if !disk.exists(Path::new(name)).map_err(|source| DirectoryError::from_io(root, source))? {
            return Err(DirectoryError::Incomplete { path: root.to_path_buf(), missing: name });
        }
    }
    Ok(())
}

fn is_known(name: &str) -> bool {
    let final_name = name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(name);
    [IDENTITY, BIRTH, BOOT].contains(&final_name)
        || [LOCK, LOST_AND_FOUND].contains(&name)
        || SKELETON.contains(&name)
}

/// The first of the names, for a message; empty when there are none.
fn show<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    let mut shown = names[..names.len().min(NAMES_SHOWN)].join(", ");
    if names.len() > NAMES_SHOWN {
        shown.push_str(&format!(" and {} more", names.len() - NAMES_SHOWN));
    }
    shown
}
