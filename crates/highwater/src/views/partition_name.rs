//! How a partition is named wherever it is shown or typed: `orders-0`, as its folder in Kafka is.
//!
//! A topic's name may itself have dashes and digits, so what follows the last dash is the number.

use std::fmt;
use std::str::FromStr;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionName {
    pub(crate) topic: String,
    /// From 0.
    pub(crate) partition: u32,
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl FromStr for PartitionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.rsplit_once('-').and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
        match parsed {
            Some((topic, partition)) if !topic.is_empty() => Ok(Self { topic: topic.to_owned(), partition }),
            _ => Err("expected a topic, a dash and the partition's number, such as orders-0".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_follows_the_last_dash() {
        for (text, topic, partition) in [("orders-0", "orders", 0), ("a-1-23", "a-1", 23), ("--4", "-", 4)] {
            let name: PartitionName = text.parse().expect(text);
            assert_eq!((name.topic.as_str(), name.partition), (topic, partition));
            assert_eq!(name.to_string(), text);
        }
        for text in ["", "orders", "orders-", "-1", "orders-x", "orders-99999999999"] {
            assert!(text.parse::<PartitionName>().is_err(), "{text}");
        }
    }
}
