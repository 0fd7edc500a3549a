//! The one way from an async task to a disk that may make it wait.

use super::Disk;

/// Runs work that may wait for `disk` on a thread that may wait; inline when the disk is simulated, which never
/// waits and whose run has to be repeatable. A panic of the work is the caller's.
///
/// Not cancel-safe: work that has begun goes on to its end, without anybody to take its result.
pub async fn blocking<T: Send + 'static>(disk: &dyn Disk, work: impl FnOnce() -> T + Send + 'static) -> T {
    if disk.is_simulated() {
        return work();
    }
    match tokio::task::spawn_blocking(work).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(value) => value,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is ending before the work began, and this task with it.
        Err(Err(_)) => std::future::pending().await,
    }
}
