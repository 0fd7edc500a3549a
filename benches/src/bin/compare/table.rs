//! What was measured, as text.

use std::fmt;

use crate::contender::Kind;

/// Figures of the same thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, sample: f64) {
        self.0.push(sample);
        self.0.sort_unstable_by(f64::total_cmp);
    }

    /// The middle one, the upper of two; nothing of none.
    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.first(), self.0.last()) {
            (Some(least), Some(most)) => write!(f, "{:.0} [{least:.0} - {most:.0}]", self.median()),
            _ => write!(f, "-"),
        }
    }
}

/// All runs of one kind with values of one size.
pub(crate) struct Row {
    kind: Kind,
    size: usize,
    rates: Samples,
    /// Microseconds per MiB.
    cpu: Samples,
}

impl Row {
    pub(crate) fn new(kind: Kind, size: usize) -> Self {
        Self { kind, size, rates: Samples::default(), cpu: Samples::default() }
    }

    pub(crate) fn add(&mut self, rate: f64, cpu: Option<f64>) {
        self.rates.add(rate);
        cpu.into_iter().for_each(|cpu| self.cpu.add(cpu));
    }
}

/// The table, and below it the ratios.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "medians [least - most]\nvalue B                                      records/s         broker CPU, µs/MiB\n",
    );
    for row in rows {
        let (rates, cpu) = (row.rates.to_string(), row.cpu.to_string());
        text += &format!("{:>7}  {:<34} {rates:<28} {cpu}\n", row.size, row.kind.name());
    }
    text += "\nratios of medians\n";
    for row in rows {
        let find = |kind| rows.iter().find(|other| other.kind == kind && other.size == row.size);
        let other = match row.kind {
            Kind::Kafka | Kind::KafkaFlushing => find(Kind::Highwater),
            Kind::Nats => find(Kind::HighwaterSingles),
            Kind::Highwater | Kind::HighwaterSingles => None,
        };
        if let Some(ours) = other {
            text += &ratio(ours, row);
        }
        if let (Kind::Nats, Some(ours)) = (row.kind, find(Kind::Highwater)) {
            text += &ratio(ours, row);
        }
    }
    text
}

fn ratio(ours: &Row, theirs: &Row) -> String {
    let rates = ours.rates.median() / theirs.rates.median();
    let cpu = theirs.cpu.median() / ours.cpu.median();
    let names = format!("{} / {}", ours.kind.name(), theirs.kind.name());
    format!("{:>7}  {names:<70} records/s {rates:>6.2}   CPU 1/{cpu:.2}\n", ours.size)
}
