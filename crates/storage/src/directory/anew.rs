//! A new life for a directory whose data cannot be proven whole: what is there is set aside, and nothing of it counts any more.
//!
//! A node that may have lost a vote or an acknowledged entry must not act as the member that it was. Under a new incarnation it is another
//! one, which the others bring up from nothing.
//!
//! ```text
//! the identity is the new one, and names the old one ─▶ journal, checkpoint and topics are moved to quarantine/aside-{old incarnation},
//! one by one ─▶ the identity names the old one no more
//! ```
//!
//! Invariants: nothing moves before the new identity is durable, so the old incarnation never meets an empty directory; a move that
//! was cut short is finished by the next start, before anything looks at the data, and never begun again after it: what is set aside
//! may be deleted in part. Nothing is deleted here.

use std::io;
use std::path::{Path, PathBuf};

use highwater_types::{Clock, Incarnation, Random};

use super::identity::Identity;
use super::layout::{CHECKPOINT, JOURNAL, QUARANTINE, TOPICS};
use crate::disk::Disk;

/// How the name of what was set aside begins. No marker of a file does: a file's path begins with a directory's name.
const ASIDE: &str = "aside-";
/// What is set aside.
const MOVED: [&str; 3] = [JOURNAL, CHECKPOINT, TOPICS];

/// Begins a new life. Durable on return, with the directory as empty as at a birth. Returns the new identity, and where the data went.
pub(super) fn begin(
    disk: &dyn Disk,
    old: Identity,
    clock: &dyn Clock,
    random: &dyn Random,
) -> io::Result<(Identity, PathBuf)> {
    let incarnation = Incarnation(random.next_u64());
    let replaces = Some(old.incarnation);
    let identity = Identity { incarnation, created: clock.now(), founder: false, replaces, ..old };
    identity.write(disk)?;
    Ok((finish(disk, identity)?, aside(old.incarnation)))
}

/// Finishes what was begun, by this process or by one that was kept from it. Returns the identity as it is then.
pub(super) fn finish(disk: &dyn Disk, identity: Identity) -> io::Result<Identity> {
    let Some(replaced) = identity.replaces else { return Ok(identity) };
    move_all(disk, &aside(replaced))?;
    let identity = Identity { replaces: None, ..identity };
    identity.write(disk)?;
    Ok(identity)
}

/// Whether something in the quarantine is what was set aside, and no marker.
pub(super) fn is_aside(name: &str) -> bool {
    name.starts_with(ASIDE)
}

fn aside(incarnation: Incarnation) -> PathBuf {
    Path::new(QUARANTINE).join(format!("{ASIDE}{incarnation}"))
}

fn move_all(disk: &dyn Disk, aside: &Path) -> io::Result<()> {
    disk.create_dir_all(aside)?;
    for name in MOVED {
        let (from, to) = (Path::new(name), aside.join(name));
        if disk.exists(&to)? {
            // Moved already, but perhaps not made anew.
            disk.create_dir_all(from)?;
            continue;
        }
        if disk.exists(from)? {
            disk.rename(from, &to)?;
            disk.sync_dir(aside)?;
            disk.sync_dir(Path::new(""))?;
        }
        disk.create_dir_all(from)?;
    }
    Ok(())
}
