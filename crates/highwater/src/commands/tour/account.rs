//! The account at the tour's end.

use std::time::Duration;

use tokio::time::Instant;

use super::judge::{Verdict, judge};
use super::record;
use super::replay::Seen;
use super::workload::Ledger;
use crate::output::{Table, bytes};

/// See the module.
#[derive(Debug)]
pub(super) struct Account {
    acked: u64,
    acked_bytes: u64,
    failed: u64,
    read: u64,
    verdict: Verdict,
    /// From the kill to the first acknowledgement of a record sent after it, in each partition that lost its leader.
    gaps: Vec<Option<Duration>>,
}

impl Account {
    /// `led` are the partitions that lost their leader when it was `killed`.
    pub(super) fn new(ledgers: &[Ledger], read: &[Vec<Seen>], killed: Instant, led: &[u32]) -> Self {
        let mut account = Self {
            acked: 0,
            acked_bytes: 0,
            failed: 0,
            read: 0,
            verdict: Verdict::default(),
            gaps: Vec::new(),
        };
        for (ledger, seen) in ledgers.iter().zip(read) {
            let verdict = judge(ledger.acked.iter().map(|acked| (acked.number, acked.offset)), seen);
            account.acked += count(ledger.acked.len());
            account.acked_bytes += ledger.acked.iter().map(|acked| record::bytes_of(acked.number)).sum::<u64>();
            account.failed += ledger.failed;
            account.read += count(seen.len());
            account.verdict.lost += verdict.lost;
            account.verdict.duplicated += verdict.duplicated;
            account.verdict.reordered += verdict.reordered;
            account.verdict.altered += verdict.altered;
            if led.contains(&ledger.partition) {
                let first = ledger.acked.iter().find(|acked| acked.sent > killed);
                account.gaps.push(first.map(|first| first.acked - killed));
            }
        }
        account
    }

    /// Whether nothing was lost, duplicated, reordered or changed.
    pub(super) fn is_kept(&self) -> bool {
        self.verdict == Verdict::default()
    }

    /// The account, for people.
    pub(super) fn text(&self, took: Duration) -> String {
        let mut table = Table::new(&["", "", ""]);
        let mut row = |name: &str, value: String, remark: String| {
            table.row(vec![format!("  {name}"), value, remark]);
        };
        let first =
            |gap: Option<Duration>| gap.map_or("never".to_owned(), |gap| format!("{:.2} s", gap.as_secs_f64()));
        let worst = if self.gaps.contains(&None) { None } else { self.gaps.iter().copied().flatten().max() };
        let best = self.gaps.iter().copied().flatten().min();
        let remark = if self.gaps.len() > 1 {
            format!("in the last of its {} partitions: {}", self.gaps.len(), first(worst))
        } else {
            String::new()
        };
        row("first ack after the kill", first(best), remark);
        row("acknowledged", format!("{} records", self.acked), bytes(self.acked_bytes));
        row("read back", format!("{} records", self.read), String::new());
        if self.failed > 0 {
            row("given up by the producer", self.failed.to_string(), "never acknowledged".to_owned());
        }
        row("lost", self.verdict.lost.to_string(), "acknowledged, and not there byte for byte".to_owned());
        row("duplicated", self.verdict.duplicated.to_string(), String::new());
        row("out of order", self.verdict.reordered.to_string(), String::new());
        row("changed", self.verdict.altered.to_string(), String::new());
        format!("{}\nin {:.1} s; nothing is left behind\n", table.render(), took.as_secs_f64())
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
