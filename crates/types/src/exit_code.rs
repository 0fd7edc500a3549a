//! The codes with which the process ends, so that a supervisor can tell a wrong
//! command from a failed disk. The numbers follow `sysexits.h` where it has one.

/// All went well.
pub const SUCCESS: i32 = 0;
/// The command failed; standard error says why.
pub const FAILURE: i32 = 1;
/// The command line is wrong; nothing was done.
pub const USAGE: i32 = 2;
/// The cluster goes on without this node (`EX_NOPERM`): it was removed, or its data directory was replaced by another. A restart
/// changes nothing; with an empty data directory it joins anew.
pub const SHUT_OUT: i32 = 77;
/// The disk failed (`EX_IOERR`): a sync returned an error, or a mapped page could not be read. What the
/// page cache shows is no longer what the disk holds, so the process ends rather than go on; the next start
/// recovers from what is durable.
pub const DISK_FAILED: i32 = 74;
