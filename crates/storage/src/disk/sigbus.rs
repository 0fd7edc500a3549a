//! What happens when a page under a mapping cannot be read: the kernel raises SIGBUS,
//! and the process ends with a name for it instead of a bare signal.
//!
//! A lock-free table holds the mapped ranges and their files' paths in fixed buffers. The
//! handler finds the range that holds the faulting address, writes one line to standard
//! error, marks the file for quarantine at the next start, and ends the process with
//! [`DISK_FAILED`]. A fault outside all ranges goes to the handler that was there before.
//!
//! The handler only calls what is async-signal-safe: `write`, `openat`, `_exit`, `sigaction`.
//! It takes no lock and allocates nothing. The slot that it matches is stable while it reads
//! it, because the faulting load itself keeps that mapping, and so its registration, alive.
//!
//! A system call that reads from the mapping (such as a vectored write to a socket) gets
//! EFAULT from the kernel instead; no signal is raised for it.
#![expect(unsafe_code, reason = "a signal handler is installed and run")]

use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize};

use highwater_types::exit_code::DISK_FAILED;
use libc::{c_int, c_void, siginfo_t};

use super::path::PATH_BYTES_MAX;

/// Most mapped ranges that are known by name. A fault in one beyond them passes for one outside all ranges: it goes to the
/// handler that was there before, which by default ends the process with a bare SIGBUS.
const RANGES_MAX: usize = 4096;
/// `Slot::start` of a slot that nobody uses.
const FREE: usize = 0;
/// `Slot::start` of a slot that is being filled. No mapping starts there: it is not a page's address.
const FILLING: usize = 1;
/// `Slot::quarantine` when the mapping's disk has no directory for markers.
const NO_DIRECTORY: RawFd = -1;
/// What stands for `/` in a marker's name. No path that the store makes contains it.
const SEPARATOR: u8 = b'+';

/// One mapped range. All fields but `start` are written while `start` is [`FILLING`].
struct Slot {
    start: AtomicUsize,
    length: AtomicUsize,
    quarantine: AtomicI32,
    path_bytes: AtomicUsize,
    path: [AtomicU8; PATH_BYTES_MAX],
}

static RANGES: [Slot; RANGES_MAX] = [const {
    Slot {
        start: AtomicUsize::new(FREE),
        length: AtomicUsize::new(0),
        quarantine: AtomicI32::new(NO_DIRECTORY),
        path_bytes: AtomicUsize::new(0),
        path: [const { AtomicU8::new(0) }; PATH_BYTES_MAX],
    }
}; RANGES_MAX];

/// Where the search for a free slot starts; only a hint.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The action that was there before ours.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// A range's place in the table; it is given back when this is dropped, which must
/// happen before the range is unmapped.
#[derive(Debug)]
pub(super) struct Registration {
    slot: Option<usize>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            RANGES[slot].start.store(FREE, Release);
        }
    }
}

/// Enters a mapped range into the table. `quarantine` stays open for as long as the registration lives.
pub(super) fn register(start: usize, length: usize, path: &Path, quarantine: Option<RawFd>) -> Registration {
    let path = path.as_os_str().as_encoded_bytes();
    assert!(path.len() <= PATH_BYTES_MAX, "a path of {} bytes was let in", path.len());
    let first = NEXT.load(Relaxed);
    for step in 0..RANGES_MAX {
        let index = (first + step) % RANGES_MAX;
        let slot = &RANGES[index];
        if slot.start.compare_exchange(FREE, FILLING, AcqRel, Relaxed).is_err() {
            continue;
        }
        slot.length.store(length, Relaxed);
        slot.quarantine.store(quarantine.unwrap_or(NO_DIRECTORY), Relaxed);
        slot.path_bytes.store(path.len(), Relaxed);
        for (to, from) in slot.path.iter().zip(path) {
            to.store(*from, Relaxed);
        }
        slot.start.store(start, Release);
        NEXT.store(index + 1, Relaxed);
        return Registration { slot: Some(index) };
    }
    Registration { slot: None }
}

/// Installs the handler, once for the process.
pub(super) fn install() -> io::Result<()> {
    static INSTALLED: parking_lot::Mutex<bool> = parking_lot::Mutex::new(false);
    let mut installed = INSTALLED.lock();
    if *installed {
        return Ok(());
    }
    // SAFETY: both structs are plain data for which zeros are valid, and `sigaction` only reads the one
    // and writes the other. The handler has the signature that SA_SIGINFO demands, and keeps to what is
    // async-signal-safe (see the module's description). SA_ONSTACK uses the stack that the standard
    // library gives each thread for signals.
    unsafe {
        let mut previous: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous) != 0 {
            return Err(io::Error::last_os_error());
        }
        PREVIOUS.get_or_init(|| previous);
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_sigbus;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        if libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    *installed = true;
    Ok(())
}

/// The name of the marker that the handler makes for the file at `path`.
pub fn marker_name(path: &Path) -> String {
    path.to_string_lossy().replace('/', "+")
}

/// The path that a marker of this name stands for.
pub fn marked_path(marker: &str) -> PathBuf {
    PathBuf::from(marker.replace('+', "/"))
}

extern "C" fn on_sigbus(_signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a SA_SIGINFO handler, and for SIGBUS it carries an address.
    let address = unsafe { (*info).si_addr() } as usize;
    match find(address) {
        Some((slot, position)) => report_and_exit(slot, position),
        // SAFETY: `previous` came from `sigaction` itself. On return the load runs again and faults into it.
        None => unsafe {
            let fallback: libc::sigaction = std::mem::zeroed();
            let previous = PREVIOUS.get().unwrap_or(&fallback);
            libc::sigaction(libc::SIGBUS, previous, std::ptr::null_mut());
        },
    }
}

/// The slot whose range holds `address`, and the position within it.
fn find(address: usize) -> Option<(&'static Slot, usize)> {
    RANGES.iter().find_map(|slot| {
        let start = slot.start.load(Acquire);
        if start == FREE || start == FILLING || address < start {
            return None;
        }
        let position = address - start;
        // The slot of another range may be given to a new one between the loads; then the start differs.
        let inside = position < slot.length.load(Acquire) && slot.start.load(Acquire) == start;
        inside.then_some((slot, position))
    })
}

/// Writes the line and the marker, and ends the process.
fn report_and_exit(slot: &Slot, position: usize) -> ! {
    let mut path = [0; PATH_BYTES_MAX + 1];
    let path_bytes = slot.path_bytes.load(Relaxed).min(PATH_BYTES_MAX);
    for (to, from) in path.iter_mut().zip(&slot.path[..path_bytes]) {
        *to = from.load(Relaxed);
    }

    let mut line = Line { bytes: [0; LINE_BYTES_MAX], length: 0 };
    line.push(b"highwater: the disk failed (SIGBUS): segment file ");
    line.push(&path[..path_bytes]);
    line.push(b" cannot be read at byte ");
    line.push_decimal(position);
    line.push(b"; the process ends, and the next start quarantines the file\n");

    for byte in &mut path[..path_bytes] {
        if *byte == b'/' {
            *byte = SEPARATOR;
        }
    }
    let directory = slot.quarantine.load(Relaxed);
    // SAFETY: the line is `length` initialised bytes; `path` ends with a zero, since at most all but its
    // last byte were written; the directory's descriptor is open while the mapping lives. All three calls
    // are async-signal-safe. A failed write or marker changes nothing: the process ends either way.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.length);
        if directory != NO_DIRECTORY {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC;
            libc::openat(directory, path.as_ptr().cast(), flags, 0o644 as libc::c_uint);
        }
        libc::_exit(DISK_FAILED)
    }
}

/// Longest line: the path and the words around it.
const LINE_BYTES_MAX: usize = PATH_BYTES_MAX + 256;

/// A line of text without allocation; what does not fit is left out.
struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    length: usize,
}

impl Line {
    fn push(&mut self, text: &[u8]) {
        for byte in text {
            if self.length < LINE_BYTES_MAX {
                self.bytes[self.length] = *byte;
                self.length += 1;
            }
        }
    }

    fn push_decimal(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            // A remainder of 10 fits a byte.
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[first..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_only_while_its_range_is_registered() {
        let start = 0x7000_0000_0000_usize;
        let registration = register(start, 8192, Path::new("topics/a/1.log"), None);
        assert_eq!(find(start + 5000).map(|(_, position)| position), Some(5000));
        assert!(find(start + 8192).is_none());
        drop(registration);
        assert!(find(start + 5000).is_none());
    }

    #[test]
    fn a_marker_leads_back_to_its_file() {
        let path = Path::new("topics/0b5f-0/00000000000000000000.log");
        assert_eq!(marked_path(&marker_name(path)), path);
    }

    #[test]
    fn decimals_are_written_without_allocation() {
        let mut line = Line { bytes: [0; LINE_BYTES_MAX], length: 0 };
        for number in [0, 7, 4096, usize::MAX] {
            line.length = 0;
            line.push_decimal(number);
            assert_eq!(std::str::from_utf8(&line.bytes[..line.length]).unwrap(), number.to_string());
        }
    }
}
