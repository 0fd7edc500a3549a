//! What a run did and found, for the terminal and for the file of results.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use highwater_crash::CrashError;

use crate::history::{Promise, Verdict};
use crate::schedule::FaultKind;

/// What one kind of fault did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Felt {
    /// How often it was played.
    pub times: u32,
    /// The longest time for which a partition acknowledged nothing.
    pub pause_max: Duration,
    /// The longest time from the fault's end until everything worked again.
    pub heal_max: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Account {
    /// What replays the faults.
    pub seed: u64,
    /// How long faults were played.
    pub took: Duration,
    /// Whether the node was built for release.
    pub release: bool,
    /// By fault.
    pub felt: BTreeMap<FaultKind, Felt>,
    /// The longest time for which a partition acknowledged nothing though nothing happened.
    pub calm_max: Duration,
    /// Batches of which two replicas were compared.
    pub compared: u64,
    /// What was found.
    pub verdict: Verdict,
}

impl Account {
    /// Appends this to the file of results: a line of figures, and the pauses.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_to(&self, path: &Path) -> Result<(), CrashError> {
        let writing = || CrashError::io(format!("writing {}", path.display()));
        let mut file = File::options().append(true).open(path).map_err(writing())?;
        file.write_all(self.row().as_bytes()).map_err(writing())
    }

    fn row(&self) -> String {
        let verdict = &self.verdict;
        let faults: u32 = self.felt.values().map(|felt| felt.times).sum();
        let zeros: Vec<String> = Promise::ALL.map(|promise| verdict.broken(promise).to_string()).into();
        let pauses: Vec<String> = self
            .felt
            .iter()
            .map(|(kind, felt)| format!("{kind} {} s ({}×)", seconds(felt.pause_max), felt.times))
            .collect();
        format!(
            "| {} | {} | {} min, {} | {faults} | {} | {} | {} | {} | {} | {} | {}; none {} s |\n",
            humantime::format_rfc3339_seconds(SystemTime::now()),
            self.seed,
            self.took.as_secs() / 60,
            if self.release { "release" } else { "debug" },
            verdict.acked,
            verdict.read,
            verdict.failed,
            verdict.unknown,
            self.compared,
            zeros.join(" "),
            pauses.join(", "),
            seconds(self.calm_max),
        )
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        writeln!(f, "fault          times  longest pause  healed within")?;
        for (kind, felt) in &self.felt {
            let (pause, heal) = (seconds(felt.pause_max), seconds(felt.heal_max));
            writeln!(f, "{kind:13}  {:5}  {pause:>11} s  {heal:>11} s", felt.times)?;
        }
        writeln!(f, "none                  {:>11} s\n", seconds(self.calm_max))?;
        writeln!(f, "acknowledged   {:10} records", verdict.acked)?;
        writeln!(f, "read           {:10} different records", verdict.read)?;
        writeln!(
            f,
            "failed         {:10} of producers that give up early; none of them may be there",
            verdict.failed
        )?;
        writeln!(f, "unknown        {:10} of them may be there or not", verdict.unknown)?;
        writeln!(f, "repeated       {:10} of producers without idempotence", verdict.repeated)?;
        writeln!(f, "compared       {:10} batches of two replicas", self.compared)?;
        for promise in Promise::ALL {
            writeln!(f, "{:20} {:4}", promise.broken_name(), verdict.broken(promise))?;
        }
        write!(f, "{verdict}")
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}
