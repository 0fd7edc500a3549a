//! What a process has used so far, from `/proc`.

use std::fs;
use std::time::Duration;

use crate::BenchError;

/// `/proc` counts CPU time in this unit, whatever the kernel's own tick (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time and memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time since its start.
    pub cpu: Duration,
    /// Memory that is its own and resident, in bytes.
    pub anonymous_bytes: u64,
    /// All resident memory, mapped files included, in bytes.
    pub resident_bytes: u64,
}

impl Usage {
    /// CPU time of all these processes together.
    ///
    /// # Errors
    /// As [`Usage::of`].
    pub fn cpu_of(processes: &[u32]) -> Result<Duration, BenchError> {
        processes.iter().try_fold(Duration::ZERO, |sum, process| Ok(sum + Self::of(*process)?.cpu))
    }

    /// Of a process that runs.
    ///
    /// # Errors
    /// When it does not run, or this is not Linux.
    pub fn of(process: u32) -> Result<Self, BenchError> {
        let path = format!("/proc/{process}/stat");
        let stat = fs::read_to_string(&path).map_err(BenchError::io(&path))?;
        // The name stands in parentheses and may hold anything; user time is the 12th field after it, system time the 13th.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().skip(11));
        let ticks: Vec<u32> =
            fields.into_iter().flatten().take(2).filter_map(|field| field.parse().ok()).collect();
        let [user, system] = ticks[..] else { return Err(BenchError::Proc { path }) };

        let path = format!("/proc/{process}/status");
        let status = fs::read_to_string(&path).map_err(BenchError::io(&path))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.map(|kib| kib * 1024).ok_or_else(|| BenchError::Proc { path: path.clone() })
        };
        Ok(Self {
            cpu: TICK * (user + system),
            anonymous_bytes: kib("RssAnon")?,
            resident_bytes: kib("VmRSS")?,
        })
    }
}
