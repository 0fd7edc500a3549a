//! Putting a repaired segment in the place of the damaged one while the node works.

use std::io;
use std::sync::Arc;

use highwater_types::GroupId;

use super::{Store, StoreError};
use crate::directory::clear_unreadable;
use crate::disk::blocking;
use crate::segment::{Adopted, SegmentRepair, SegmentedLog};

impl Store {
    /// Adopts a whole repair of a segment of `id`, between two checkpoints, and forgets what an earlier process noted of the damaged
    /// file. Durable on return.
    ///
    /// # Errors
    /// When what was supplied is not whole after all ([`SegmentError::is_damage`](crate::segment::SegmentError::is_damage)): nothing
    /// has changed then, and the segment can be repaired anew. After any other error the node must end (R2).
    pub async fn adopt_repair(&self, id: GroupId, repair: SegmentRepair) -> Result<Adopted, StoreError> {
        self.running_journal()?;
        // A checkpoint that is under way may have the damaged file to sync.
        let no_checkpoint = Arc::clone(&self.checkpoints).lock_owned().await;
        let Some(segments) = self.group(id).and_then(|log| log.segments().cloned()) else {
            return Ok(Adopted::Gone);
        };
        let disk = Arc::clone(&self.services.disk);
        blocking(&*self.services.disk, move || {
            let _no_checkpoint = no_checkpoint;
            let file = repair.file();
            let adopted = adopt(&segments, repair)?;
            match clear_unreadable(&*disk, &file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(StoreError::io("clearing the marker of a repaired file")(error))
                }
                _ => Ok(adopted),
            }
        })
        .await
    }
}

fn adopt(segments: &SegmentedLog, repair: SegmentRepair) -> Result<Adopted, StoreError> {
    Ok(segments.adopt(repair).map_err(Arc::new)?)
}
