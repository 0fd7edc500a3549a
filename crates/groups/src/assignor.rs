//! Who is to hold which partition: pure functions of a roster. Equal rosters give equal assignments.

mod chains;
mod even;
mod range;
mod roster;

use std::fmt;
use std::str::FromStr;

pub(crate) use roster::Roster;

use crate::error::GroupsError;
use crate::partition_set::PartitionSet;

/// How partitions are dealt out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Assignor {
    /// Everybody gets as many as everybody else, within one where subscriptions allow it, and keeps what it had as
    /// far as that allows.
    #[default]
    Uniform,
    /// Each member gets a run of each topic's partitions; topics with the same partitions and the same subscribers are
    /// cut alike, so that who has partition 3 of one has partition 3 of the other.
    Range,
}

impl Assignor {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// The name by which members ask for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The partitions of each candidate, in order of the candidates. Each partition that somebody subscribes to is
    /// exactly one's.
    pub(crate) fn assign(self, roster: &Roster<'_>) -> Vec<PartitionSet> {
        let dealt = match self {
            Self::Uniform if roster.is_homogeneous() => even::assign(roster),
            Self::Uniform => chains::assign(roster),
            Self::Range => range::assign(roster),
        };
        dealt.into_iter().map(|numbers| roster.partitions(&numbers)).collect()
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Assignor {
    type Err = GroupsError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|assignor| assignor.name() == name);
        named.ok_or_else(|| GroupsError::UnsupportedAssignor { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests;
