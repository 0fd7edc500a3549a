//! A node's figures in the text form that Prometheus reads. Names and meanings stay; figures are added.

mod groups;

use std::fmt::Write as _;

use highwater_broker::{Broker, DamageFigures, DamagedPartition};

use crate::grpc::Groups;

/// One figure: its name, whether it only ever grows, what it is, and its value.
type Figure = (&'static str, bool, &'static str, u64);

/// All figures of a node.
pub(crate) async fn of(broker: &Broker, groups: &Groups) -> String {
    let own = damage(&broker.damage_figures()) + &damaged_partitions(&broker.damaged_partitions());
    own + &groups::render(&groups.figures().await)
}

/// Figures about damage and its repair.
fn damage(figures: &DamageFigures) -> String {
    let DamageFigures {
        scrubbed_bytes,
        scrub_rounds,
        scrub_findings,
        quarantined_partitions,
        quarantined_segments,
        quarantined_bytes,
        repaired_segments,
        repaired_bytes,
        fetched_bytes,
        failed_repairs,
        caught_up_bytes,
    } = *figures;
    render(&[
        (
            "highwater_scrub_bytes_total",
            true,
            "Bytes of stored records that the scrub has read.",
            scrubbed_bytes,
        ),
        ("highwater_scrub_rounds_total", true, "Rounds of the scrub through all stored records.", scrub_rounds),
        ("highwater_scrub_findings_total", true, "Segments that the scrub found damaged.", scrub_findings),
        (
            "highwater_quarantined_partitions",
            false,
            "Partitions whose replica here is out of service.",
            quarantined_partitions,
        ),
        (
            "highwater_quarantined_segments",
            false,
            "Segments that are known to be damaged.",
            quarantined_segments,
        ),
        (
            "highwater_quarantined_bytes",
            false,
            "Bytes of segments that are known to be damaged.",
            quarantined_bytes,
        ),
        (
            "highwater_repaired_segments_total",
            true,
            "Damaged segments that were made whole.",
            repaired_segments,
        ),
        ("highwater_repaired_bytes_total", true, "Bytes of segments that were made whole.", repaired_bytes),
        (
            "highwater_repaired_fetched_bytes_total",
            true,
            "Bytes that other replicas gave for repairs.",
            fetched_bytes,
        ),
        ("highwater_repair_failures_total", true, "Attempts to repair a segment that failed.", failed_repairs),
        (
            "highwater_catch_up_bytes_total",
            true,
            "Bytes, within the bound, that replicas took to catch up and to be repaired.",
            caught_up_bytes,
        ),
    ])
}

/// The partitions of which the replica here is damaged, one line for each.
fn damaged_partitions(damaged: &[DamagedPartition]) -> String {
    let name = "highwater_quarantined_replica_segments";
    let mut text = format!(
        "# HELP {name} Damaged segments of a replica that is quarantined, wholly or in part; 0 if that is not known by segment.\n\
         # TYPE {name} gauge\n"
    );
    for DamagedPartition { topic, index, segments } in damaged {
        // A topic's name has no character that would have to be escaped.
        let _ = writeln!(text, "{name}{{topic=\"{topic}\",partition=\"{index}\"}} {segments}");
    }
    text
}

fn render(figures: &[Figure]) -> String {
    let mut text = String::new();
    for (name, only_grows, what, value) in figures {
        let kind = if *only_grows { "counter" } else { "gauge" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use highwater_types::PartitionIndex;

    use super::*;

    #[test]
    fn every_figure_has_its_kind_and_value() {
        let text = damage(&DamageFigures { scrub_rounds: 7, quarantined_bytes: 9, ..Default::default() });
        assert!(
            text.contains("# TYPE highwater_scrub_rounds_total counter\nhighwater_scrub_rounds_total 7\n"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE highwater_quarantined_bytes gauge\nhighwater_quarantined_bytes 9\n"),
            "{text}"
        );
        assert_eq!(text.lines().count() % 3, 0);
    }

    #[test]
    fn a_damaged_replica_is_named() {
        let orders = DamagedPartition { topic: "orders".to_owned(), index: PartitionIndex(3), segments: 2 };
        let text = damaged_partitions(&[orders]);
        assert!(
            text.ends_with("highwater_quarantined_replica_segments{topic=\"orders\",partition=\"3\"} 2\n"),
            "{text}"
        );
    }
}
