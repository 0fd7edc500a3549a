//! Uniform, when members read different topics: as balanced as subscriptions allow.
//!
//! Members keep what they had, what is free goes to whoever has least, and then partitions move along *chains*: `a`
//! hands a partition to `b`, which reads its topic too, `b` hands another one to `c`, and so on to one that has at
//! least two fewer than `a`. When there is no such chain, the sum of the squares of the members' counts is the least
//! possible (optimal semi-matching: Harvey, Ladner, Lovász, Tamir 2006). Chains are looked for from the
//! member that has most, shortest first, so that few partitions move. What a fruitless search has reached is settled
//! for good, since nothing there is below that member by two, and is never searched again.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::roster::{Number, Roster};

/// The partitions of each candidate.
pub(super) fn assign(roster: &Roster<'_>) -> Vec<Vec<Number>> {
    let mut dealing = Dealing::new(roster);
    dealing.deal_free(roster);
    dealing.balance();
    dealing.hands.into_iter().map(|hand| hand.into_values().flatten().collect()).collect()
}

/// Who reads what and has what. Members and topics are places in the roster.
struct Dealing {
    /// What each member has, by topic.
    hands: Vec<BTreeMap<usize, Vec<Number>>>,
    loads: Vec<usize>,
    /// The members that read each topic.
    readers: Vec<Vec<usize>>,
    settled: Vec<bool>,
}

impl Dealing {
    /// Members with what they keep.
    fn new(roster: &Roster<'_>) -> Self {
        let mut readers = vec![Vec::new(); roster.topics().len()];
        for (member, candidate) in roster.candidates().iter().enumerate() {
            candidate.topics.iter().for_each(|topic| readers[*topic].push(member));
        }
        let members = readers.iter().flatten().max().map_or(0, |last| last + 1).max(roster.candidates().len());
        let mut dealing = Self {
            hands: vec![BTreeMap::new(); members],
            loads: vec![0; members],
            readers,
            settled: vec![false; members],
        };
        for (member, numbers) in roster.kept().into_iter().enumerate() {
            numbers.into_iter().for_each(|number| dealing.give(member, roster.topic_of(number), number));
        }
        dealing
    }

    fn give(&mut self, member: usize, topic: usize, number: Number) {
        self.hands[member].entry(topic).or_default().push(number);
        self.loads[member] += 1;
    }

    /// Takes the partition of a topic that the member got last.
    fn take(&mut self, member: usize, topic: usize) -> Option<Number> {
        let numbers = self.hands[member].get_mut(&topic)?;
        let number = numbers.pop()?;
        if numbers.is_empty() {
            self.hands[member].remove(&topic);
        }
        self.loads[member] -= 1;
        Some(number)
    }

    /// Gives what is free to who still has it, or else to the reader that has least; topics with few readers first.
    fn deal_free(&mut self, roster: &Roster<'_>) {
        let keepers = roster.keepers();
        let mut is_free = vec![true; roster.count()];
        let dealt = self.hands.iter().flat_map(BTreeMap::values).flatten();
        dealt.for_each(|number| is_free[*number as usize] = false);
        let mut topics: Vec<usize> = (0..self.readers.len()).collect();
        topics.sort_by_key(|topic| self.readers[*topic].len());
        for topic in topics {
            let free: Vec<Number> = roster.numbers(topic).filter(|number| is_free[*number as usize]).collect();
            if free.is_empty() {
                continue;
            }
            let mut lightest: BinaryHeap<_> = self.readers[topic]
                .iter()
                .map(|reader| std::cmp::Reverse((self.loads[*reader], *reader)))
                .collect();
            for number in free {
                let keeper = keepers[number as usize].filter(|keeper| self.reads(*keeper, topic));
                let Some(std::cmp::Reverse((_, reader))) = lightest.pop() else { break };
                let taker = match keeper {
                    Some(keeper) if self.loads[keeper] <= self.loads[reader] => keeper,
                    _ => reader,
                };
                self.give(taker, topic, number);
                lightest.push(std::cmp::Reverse((self.loads[reader], reader)));
            }
        }
    }

    fn reads(&self, member: usize, topic: usize) -> bool {
        self.readers[topic].binary_search(&member).is_ok()
    }

    /// Moves partitions along chains until there is none.
    fn balance(&mut self) {
        let mut heaviest: BinaryHeap<_> =
            self.loads.iter().enumerate().map(|(member, load)| (*load, std::cmp::Reverse(member))).collect();
        while let Some((load, std::cmp::Reverse(member))) = heaviest.pop() {
            if self.settled[member] || load != self.loads[member] {
                continue;
            }
            if let Some(end) = self.shift(member) {
                for changed in [member, end] {
                    heaviest.push((self.loads[changed], std::cmp::Reverse(changed)));
                }
            }
        }
    }

    /// Shifts one partition from the member along the shortest chain to one that has at least two fewer, and says who
    /// that is. When there is none, everybody within reach is settled.
    fn shift(&mut self, from: usize) -> Option<usize> {
        let mut came_by: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut topics_seen = vec![false; self.readers.len()];
        let mut queue = VecDeque::from([from]);
        let mut reached = vec![from];
        while let Some(member) = queue.pop_front() {
            for topic in self.hands[member].keys() {
                if std::mem::replace(&mut topics_seen[*topic], true) {
                    continue;
                }
                for reader in &self.readers[*topic] {
                    if *reader == from || self.settled[*reader] || came_by.contains_key(reader) {
                        continue;
                    }
                    came_by.insert(*reader, (member, *topic));
                    if self.loads[*reader] + 2 <= self.loads[from] {
                        let end = *reader;
                        self.hand_on(from, end, &came_by);
                        return Some(end);
                    }
                    queue.push_back(*reader);
                    reached.push(*reader);
                }
            }
        }
        reached.into_iter().for_each(|member| self.settled[member] = true);
        None
    }

    /// One partition for each link of the chain that ends here.
    fn hand_on(&mut self, from: usize, end: usize, came_by: &BTreeMap<usize, (usize, usize)>) {
        let mut to = end;
        while to != from {
            let Some(&(giver, topic)) = came_by.get(&to) else { break };
            if let Some(number) = self.take(giver, topic) {
                self.give(to, topic, number);
            }
            to = giver;
        }
    }
}
