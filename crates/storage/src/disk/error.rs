//! What a disk operation's failure says: which operation, on which file, and the
//! operating system's own error below it, so that a full disk stays recognisable.

use std::io;
use std::path::{Path, PathBuf};

/// The context that both disks put around an [`io::Error`]; its kind stays the same.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
struct Failure {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Adds the operation and the path to an error.
pub(crate) fn failed(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> io::Error {
    let source = source.into();
    let path = path.to_path_buf();
    io::Error::new(source.kind(), Failure { operation, path, source })
}

/// The operating system's number of an error, also when context lies around it.
pub fn os_error(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let failure = error.get_ref()?.downcast_ref::<Failure>()?;
        failure.source.raw_os_error()
    })
}

/// Whether the disk, or the user's quota on it, is full: the one failure that can pass by itself.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the device failed to read or write (EIO).
pub fn is_device_failure(error: &io::Error) -> bool {
    os_error(error) == Some(rustix::io::Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_stays_recognisable_below_its_context() {
        let full = failed("write", Path::new("journal/1"), rustix::io::Errno::NOSPC);
        assert!(is_no_space(&full));
        assert_eq!(os_error(&full), Some(rustix::io::Errno::NOSPC.raw_os_error()));
        assert_eq!(full.to_string(), "cannot write journal/1: No space left on device (os error 28)");
    }

    #[test]
    fn a_failed_device_is_not_a_full_one() {
        let broken = failed("sync", Path::new("journal/1"), rustix::io::Errno::IO);
        assert!(is_device_failure(&broken) && !is_no_space(&broken));
    }
}
