//! The steps of a scenario.
//!
//! ```text
//! topics orders=2 clicks=1          create topics or give them partitions   · drop orders   delete one
//! at 45s                            go on to this time, doing what is due on the way
//! join g a orders,clicks            flags: instance=i assignor=range rebalance=10s
//! beat g a                          a heartbeat; flags: epoch=1 seen=1 owns=orders:0,orders:1 instance=i reads=clicks
//! leave g a                         flag: awhile
//! commit g a orders:0=5             flags: epoch=1 rewind note=text; `-` for the member is an outsider
//! fetch g orders:0  ·  reset g orders:0=0  ·  forget g orders:0  ·  delete g  ·  show g
//! failover                          a replica takes over
//! ```
//!
//! A member states what it heard last and owns what it was told, unless a flag says otherwise; with the flag `lost` it does
//! not hear the answer. `orders'1` is the topic with number 1, which was deleted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use highwater_groups::{
    CommitRequest, Committer, Decision, Epoch, GroupName, GroupsConfig, GroupsError, HeartbeatRequest,
    InstanceId, JoinRequest, Leave, LeaveRequest, MemberAnswer, MemberId, OffsetCommit, PartitionSet, Revision,
    Subscription, TopicsChange, Uptime,
};
use highwater_types::{LeaderEpoch, Offset, TopicName};

use super::cluster::Cluster;
use super::render;
use super::topics::Topics;

/// What a member knows of itself.
#[derive(Debug, Clone, Default)]
struct Heard {
    epoch: Epoch,
    seen: Revision,
    owned: PartitionSet,
}

/// A scenario being played.
#[derive(Debug)]
pub(crate) struct Script {
    cluster: Cluster,
    topics: Topics,
    members: BTreeMap<String, Heard>,
}

impl Default for Script {
    fn default() -> Self {
        let config = GroupsConfig {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            members_max: 3,
            ..GroupsConfig::default()
        };
        Self { cluster: Cluster::new(config), topics: Topics::default(), members: BTreeMap::new() }
    }
}

/// A step's words: those with a name, and those without.
struct Words<'a> {
    plain: Vec<&'a str>,
    flags: BTreeMap<&'a str, &'a str>,
}

const FLAGS: [&str; 9] =
    ["instance", "assignor", "rebalance", "epoch", "seen", "owns", "reads", "note", "leader"];

impl<'a> Words<'a> {
    fn of(step: &'a str) -> Self {
        let (mut plain, mut flags) = (Vec::new(), BTreeMap::new());
        for word in step.split_whitespace() {
            match word.split_once('=').filter(|(name, _)| FLAGS.contains(name)) {
                Some((name, value)) => drop(flags.insert(name, value)),
                None if ["lost", "awhile", "rewind"].contains(&word) => drop(flags.insert(word, "")),
                None => plain.push(word),
            }
        }
        Self { plain, flags }
    }

    fn group(&self) -> GroupName {
        GroupName::new(self.plain[1]).unwrap()
    }

    fn member(&self) -> MemberId {
        MemberId::new(self.plain[2]).unwrap()
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains_key(flag)
    }

    fn instance(&self) -> Option<InstanceId> {
        self.flags.get("instance").map(|id| InstanceId::new(id).unwrap())
    }

    fn number(&self, flag: &str) -> Option<u32> {
        self.flags.get(flag).map(|number| number.parse().unwrap())
    }
}

fn duration(text: &str) -> Duration {
    let split = text.find(|letter: char| letter.is_alphabetic()).expect("a unit");
    let number: u64 = text[..split].parse().unwrap();
    match &text[split..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "d" => Duration::from_secs(number * 24 * 60 * 60),
        unit => panic!("{unit} is no unit"),
    }
}

fn subscription(names: &str) -> Subscription {
    Subscription::new(names.split(',').map(|name| TopicName::new(name).unwrap())).unwrap()
}

impl Script {
    /// Plays one step and says what came of it.
    pub(crate) fn play(&mut self, step: &str) -> Vec<String> {
        let words = Words::of(step);
        match words.plain[0] {
            "topics" => self.put_topics(&words),
            "drop" => self.drop_topic(&words),
            "at" => self.go_on(duration(words.plain[1])),
            "join" => self.join(&words),
            "beat" => self.beat(&words),
            "leave" => self.leave(&words),
            "commit" => self.commit(&words),
            "fetch" => vec![self.fetch(&words)],
            "reset" => self.reset(&words),
            "forget" => self.forget(&words),
            "delete" => {
                let decision =
                    self.cluster.coordinator.delete_group(self.cluster.now(), &self.topics, &words.group());
                self.outcome(&decision)
            }
            "show" => match self.cluster.coordinator.state().group(&words.group()) {
                Some(group) => render::group(&self.topics, group),
                None => vec!["no such group".to_owned()],
            },
            "failover" => {
                self.cluster.fail_over();
                self.catch_up()
            }
            other => panic!("'{other}' is no step"),
        }
    }

    /// What is due now.
    fn catch_up(&mut self) -> Vec<String> {
        self.go_on(self.cluster.uptime)
    }

    fn go_on(&mut self, to: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(Uptime(due)) = self.cluster.coordinator.next_deadline().filter(|due| due.0 <= to) {
            self.cluster.uptime = self.cluster.uptime.max(due);
            let decision = self.cluster.coordinator.tick(self.cluster.now(), &self.topics);
            let outcome = self.outcome(&decision);
            if !outcome.is_empty() {
                lines.push(format!("at {:?}", self.cluster.uptime));
                lines.extend(outcome);
            }
        }
        self.cluster.uptime = to;
        lines
    }

    fn put_topics(&mut self, words: &Words<'_>) -> Vec<String> {
        let mut change = TopicsChange::default();
        for word in &words.plain[1..] {
            let (name, count) = word.split_once('=').expect("topic=partitions");
            change.names.push(self.topics.put(name, count.parse().unwrap()));
        }
        self.change_topics(&change)
    }

    fn drop_topic(&mut self, words: &Words<'_>) -> Vec<String> {
        let names = vec![TopicName::new(words.plain[1]).unwrap()];
        let deleted = vec![self.topics.delete(words.plain[1])];
        self.change_topics(&TopicsChange { names, deleted })
    }

    fn change_topics(&mut self, change: &TopicsChange) -> Vec<String> {
        let decision = self.cluster.coordinator.topics_changed(self.cluster.now(), &self.topics, change);
        self.outcome(&decision)
    }

    fn join(&mut self, words: &Words<'_>) -> Vec<String> {
        let request = JoinRequest {
            group: words.group(),
            member: words.member(),
            instance: words.instance(),
            client_id: "app".to_owned(),
            client_host: "10.0.0.1".to_owned(),
            subscription: subscription(words.plain[3]),
            assignor: match words.flags.get("assignor").map(|name| name.parse()).transpose() {
                Ok(assignor) => assignor,
                Err(error) => return vec![format!("refuse {error}")],
            },
            rebalance_timeout: words
                .flags
                .get("rebalance")
                .map_or(Duration::from_secs(60), |text| duration(text)),
        };
        self.members.insert(words.plain[2].to_owned(), Heard::default());
        let decision = self.cluster.coordinator.join(self.cluster.now(), &self.topics, &request);
        self.member_outcome(words, &decision)
    }

    fn beat(&mut self, words: &Words<'_>) -> Vec<String> {
        let heard = self.members.entry(words.plain[2].to_owned()).or_default().clone();
        let owned = match words.flags.get("owns") {
            Some(&"nothing") => PartitionSet::default(),
            Some(list) => list.split(',').map(|text| self.topics.partition(text)).collect(),
            None => heard.owned,
        };
        let request = HeartbeatRequest {
            group: words.group(),
            member: words.member(),
            instance: words.instance(),
            epoch: words.number("epoch").map_or(heard.epoch, Epoch),
            seen: words.number("seen").map_or(heard.seen, Revision),
            owned: Some(owned),
            subscription: words.flags.get("reads").map(|names| subscription(names)),
        };
        let decision = self.cluster.coordinator.heartbeat(self.cluster.now(), &self.topics, &request);
        self.member_outcome(words, &decision)
    }

    fn member_outcome(&mut self, words: &Words<'_>, decision: &Decision<MemberAnswer>) -> Vec<String> {
        let mut lines = self.outcome(decision);
        if let Ok(answer) = &decision.answer {
            let told = render::answer(&self.topics, answer);
            match words.has("lost") {
                true => lines.push(format!("{told} (lost)")),
                false => {
                    lines.push(told);
                    self.hear(words.plain[2], answer);
                }
            }
        }
        lines
    }

    fn hear(&mut self, member: &str, answer: &MemberAnswer) {
        let heard = self.members.entry(member.to_owned()).or_default();
        heard.epoch = answer.epoch;
        heard.seen = answer.revision;
        if let Some(assignment) = &answer.assignment {
            heard.owned = assignment.clone();
        }
    }

    fn leave(&mut self, words: &Words<'_>) -> Vec<String> {
        let leave = if words.has("awhile") { Leave::ForAWhile } else { Leave::ForGood };
        let request = LeaveRequest { group: words.group(), member: words.member(), leave };
        let decision = self.cluster.coordinator.leave(self.cluster.now(), &self.topics, &request);
        self.outcome(&decision)
    }

    fn commit(&mut self, words: &Words<'_>) -> Vec<String> {
        let committer = match words.plain[2] {
            "-" => Committer::Outsider,
            member => {
                let heard = self.members.get(member).map(|heard| heard.epoch).unwrap_or_default();
                Committer::Member { member: words.member(), epoch: words.number("epoch").map_or(heard, Epoch) }
            }
        };
        let offset = |word: &&str| {
            let (partition, offset) = word.split_once('=').expect("partition=offset");
            OffsetCommit {
                partition: self.topics.partition(partition),
                offset: Offset(offset.parse().unwrap()),
                leader_epoch: words.number("leader").map(|epoch| LeaderEpoch(epoch as i32)),
                metadata: words.flags.get("note").copied().unwrap_or_default().to_owned(),
                may_rewind: words.has("rewind"),
            }
        };
        let offsets = words.plain[3..].iter().map(offset).collect();
        let request = CommitRequest { group: words.group(), committer, offsets };
        let decision = self.cluster.coordinator.commit(self.cluster.now(), &self.topics, &request);
        self.results(&decision)
    }

    fn reset(&mut self, words: &Words<'_>) -> Vec<String> {
        let offset = |word: &&str| {
            let (partition, offset) = word.split_once('=').expect("partition=offset");
            (self.topics.partition(partition), Offset(offset.parse().unwrap()))
        };
        let offsets: Vec<_> = words.plain[2..].iter().map(offset).collect();
        let (now, group) = (self.cluster.now(), words.group());
        let decision = self.cluster.coordinator.reset_offsets(now, &self.topics, &group, &offsets);
        self.results(&decision)
    }

    fn forget(&mut self, words: &Words<'_>) -> Vec<String> {
        let partitions: Vec<_> = words.plain[2..].iter().map(|text| self.topics.partition(text)).collect();
        let (now, group) = (self.cluster.now(), words.group());
        let decision = self.cluster.coordinator.delete_offsets(now, &self.topics, &group, &partitions);
        self.results(&decision)
    }

    fn fetch(&self, words: &Words<'_>) -> String {
        let partition = self.topics.partition(words.plain[2]);
        let group = self.cluster.coordinator.state().group(&words.group());
        match group.and_then(|group| group.offset(partition)) {
            Some(found) => format!("offset {} '{}'", found.offset, found.metadata),
            None => "no offset".to_owned(),
        }
    }

    fn results(&mut self, decision: &Decision<Vec<Result<(), GroupsError>>>) -> Vec<String> {
        let mut lines = self.outcome(decision);
        for result in decision.answer.iter().flatten() {
            lines.push(match result {
                Ok(()) => "ok".to_owned(),
                Err(error) => format!("refuse {error}"),
            });
        }
        lines
    }

    fn outcome<T>(&mut self, decision: &Decision<T>) -> Vec<String> {
        self.cluster.replicate(decision);
        let mut lines: Vec<_> =
            decision.records.iter().map(|record| render::record(&self.topics, record)).collect();
        lines.extend(decision.wakes.iter().map(|wake| format!("wake {}", wake.member)));
        lines.extend(decision.answer.as_ref().err().map(|error| format!("refuse {error}")));
        lines
    }
}

/// The scenario with the outcomes that it has now.
pub(crate) fn play(text: &str) -> String {
    let mut script = Script::default();
    let mut played = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(played, "{line}").unwrap();
        let step = line.split('#').next().unwrap_or_default().trim();
        if !step.is_empty() {
            script.play(step).iter().for_each(|outcome| writeln!(played, "  {outcome}").unwrap());
        }
    }
    played
}
