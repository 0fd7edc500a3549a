//! What a reset of a group's offsets does to each partition: what people read before they carry it out.

use serde::Serialize;

use super::partition_name::PartitionName;
use crate::output::{Cell, Screen, Table, Tone, counted};

/// One partition of a reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct OffsetChange {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    /// What is committed; absent when nothing is.
    pub(crate) from_offset: Option<i64>,
    /// What is to be; absent when the partition stays as it is, for nothing is committed to count from.
    pub(crate) to_offset: Option<i64>,
    /// How far that is from what is committed; negative goes back.
    pub(crate) difference: Option<i64>,
    /// Whether what was asked for lies beyond the log, and its nearest end is taken.
    pub(crate) is_clamped: bool,
    pub(crate) log_start_offset: i64,
    pub(crate) high_watermark: i64,
}

/// See the module. Serialized it is what `group reset --output json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct ResetPlan {
    pub(crate) group: String,
    /// Whether it was carried out.
    pub(crate) is_executed: bool,
    /// By topic and number.
    pub(crate) changes: Vec<OffsetChange>,
}

impl OffsetChange {
    /// Takes what was committed to `wanted`, as far as the log reaches.
    pub(crate) fn new(
        name: PartitionName,
        from_offset: Option<i64>,
        wanted: Option<i64>,
        (log_start_offset, high_watermark): (i64, i64),
    ) -> Self {
        let to_offset = wanted.map(|wanted| wanted.min(high_watermark).max(log_start_offset));
        Self {
            topic: name.topic,
            partition: name.partition,
            from_offset,
            to_offset,
            difference: to_offset.zip(from_offset).map(|(to, from)| to.saturating_sub(from)),
            is_clamped: to_offset != wanted,
            log_start_offset,
            high_watermark,
        }
    }

    /// Whether there is anything to be done.
    pub(crate) fn is_news(&self) -> bool {
        self.to_offset.is_some() && self.to_offset != self.from_offset
    }

    fn note(&self) -> &'static str {
        match self.to_offset {
            None => "stays: nothing is committed to count from",
            Some(to) if self.is_clamped && to == self.log_start_offset => "the first record that exists",
            Some(_) if self.is_clamped => "the end of the log",
            Some(_) => "",
        }
    }
}

impl ResetPlan {
    /// How many offsets are set.
    pub(crate) fn news(&self) -> u64 {
        self.changes.iter().filter(|change| change.is_news()).count() as u64
    }

    /// The plan.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let mut table = Table::new(&["PARTITION", "FROM", "TO", "DIFFERENCE", "NOTE"]).spare(&["NOTE"]);
        for change in &self.changes {
            let offset =
                |offset: Option<i64>| offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
            let difference = change.difference.map(|difference| match difference {
                0 => "0".to_owned(),
                difference => format!("{difference:+}"),
            });
            table.row(vec![
                PartitionName { topic: change.topic.clone(), partition: change.partition }.to_string().into(),
                offset(change.from_offset).into(),
                offset(change.to_offset.or(change.from_offset)).into(),
                difference.unwrap_or_default().into(),
                Cell::toned(change.note(), Some(Tone::Notice)),
            ]);
        }
        let (offsets, group) = (counted(self.news(), "offset"), &self.group);
        let outcome = match (self.news(), self.is_executed) {
            (0, _) => format!("all of it is so already in group {group}"),
            (_, true) => format!("set {offsets} of group {group}"),
            (_, false) => format!("would set {offsets} of group {group}; add --execute to do it"),
        };
        format!("{}\n{outcome}\n", table.render_on(screen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_log_becomes_its_nearest_end() {
        let change = |from, wanted| {
            let name = PartitionName { topic: "orders".to_owned(), partition: 0 };
            let change = OffsetChange::new(name, from, wanted, (10, 100));
            (change.to_offset, change.difference, change.is_clamped, change.is_news())
        };
        assert_eq!(change(Some(50), Some(40)), (Some(40), Some(-10), false, true));
        assert_eq!(change(Some(50), Some(4)), (Some(10), Some(-40), true, true));
        assert_eq!(change(Some(50), Some(400)), (Some(100), Some(50), true, true));
        assert_eq!(change(None, Some(100)), (Some(100), None, false, true));
        assert_eq!(change(Some(50), Some(50)), (Some(50), Some(0), false, false));
        assert_eq!(change(None, None), (None, None, false, false));
    }
}
