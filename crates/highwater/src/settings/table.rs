//! Every setting of `serve`, in the order of the example file. What the file, the environment and the flags take,
//! what `--check` shows and the example file itself all come from here.

use std::time::Duration;

use highwater_types::{NodeId, limits};

use super::serve_config::LogFormat;
use super::setting::Default::{Is, Required, Unset};
use super::setting::Setting;
use super::value::Kind;

const MIB: u64 = 1 << 20;

/// See the module. A setting without a table comes first, as TOML wants it.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "insecure",
        kind: Kind::Switch,
        default: Is("false"),
        example: "true",
        documentation: "Lets listeners without TLS and authentication be reached from other machines: whoever \
                        reaches them may then read, write and delete everything. Every start says so.",
        store: |config, value| config.node.insecure = value.switch(),
    },
    Setting {
        name: "node.id",
        kind: Kind::Number { min: 1, max: i64::MAX as u64 },
        default: Required,
        example: "1",
        documentation: "The node's number, which no other node of the cluster has. It stays for the life of the \
                        data directory.",
        store: |config, value| config.node.node = NodeId(value.number()),
    },
    Setting {
        name: "node.rack",
        kind: Kind::Name,
        default: Unset,
        example: "zone-a",
        documentation: "Where the machine stands: a rack, a room, a zone. The replicas of a partition are spread \
                        over as many racks as there are.",
        store: |config, value| config.node.rack = Some(value.text()),
    },
    Setting {
        name: "data.dir",
        kind: Kind::Directory,
        default: Required,
        example: "/var/lib/highwater",
        documentation: "Where the data is kept; created if it does not exist. One node has it to itself.",
        store: |config, value| config.node.data = value.text().into(),
    },
    Setting {
        name: "listen.grpc",
        kind: Kind::Listen,
        default: Is("127.0.0.1:7400"),
        example: "0.0.0.0:7400",
        documentation: "Where clients are listened for. Port 0 takes a free one.",
        store: |config, value| config.node.grpc = value.listen(),
    },
    Setting {
        name: "listen.peer",
        kind: Kind::Listen,
        default: Is("127.0.0.1:7401"),
        example: "0.0.0.0:7401",
        documentation: "Where the other nodes of the cluster are listened for. Port 0 takes a free one.",
        store: |config, value| config.node.peer = value.listen(),
    },
    Setting {
        name: "listen.http",
        kind: Kind::Listen,
        default: Is("127.0.0.1:7402"),
        example: "0.0.0.0:7402",
        documentation: "Where HTTP is listened for: /healthz says that the process lives, /readyz that it serves, \
                        /metrics has figures. Port 0 takes a free one.",
        store: |config, value| config.node.http = value.listen(),
    },
    Setting {
        name: "advertise.grpc",
        kind: Kind::Endpoint,
        default: Unset,
        example: "node-1.example.com:7400",
        documentation: "Where clients are told to find this node. Without it, where it listens; needed when that is \
                        every address of the machine, such as 0.0.0.0.",
        store: |config, value| config.node.advertised_grpc = Some(value.text()),
    },
    Setting {
        name: "advertise.peer",
        kind: Kind::Endpoint,
        default: Unset,
        example: "node-1.example.com:7401",
        documentation: "Where the other nodes are told to find this one. Without it, where it listens; needed when \
                        that is every address of the machine.",
        store: |config, value| config.node.advertised_peer = Some(value.text()),
    },
    Setting {
        name: "cluster.seeds",
        kind: Kind::Endpoints,
        default: Is(""),
        example: "node-1.example.com:7400,node-2.example.com:7400",
        documentation: "Nodes of the cluster to join, by their gRPC addresses. One that is up is enough; a list of \
                        several does not depend on one machine.",
        store: |config, value| config.node.seeds = value.endpoints(),
    },
    Setting {
        name: "cluster.first_voters",
        kind: Kind::Voters,
        default: Is(""),
        example: "1@node-1.example.com:7400,2@node-2.example.com:7400,3@node-3.example.com:7400",
        documentation: "The nodes that found a new cluster, each with its gRPC address; one, three or five of them, \
                        and the same list on each. The first begins the cluster when all others and all seeds say that they \
                        belong to none, and otherwise joins theirs; the others join it. Only a node \
                        without data looks at it. Without first voters a node without data waits, until a seed of its \
                        belongs to a cluster or `highwater cluster init` founds one.",
        store: |config, value| config.node.first_voters = value.voters(),
    },
    Setting {
        name: "topic.partitions",
        kind: Kind::Number { min: 1, max: limits::PARTITIONS_PER_TOPIC_MAX as u64 },
        default: Is("1"),
        example: "4",
        documentation: "Partitions of a topic that is created without saying how many.",
        store: |config, value| {
            config.node.default_partitions =
                u32::try_from(value.number()).expect("the setting's largest value fits");
        },
    },
    Setting {
        name: "topic.replication_factor",
        kind: Kind::Number { min: 1, max: limits::NODES_PER_CLUSTER_MAX as u64 },
        default: Unset,
        example: "3",
        documentation: "Replicas of each partition of a topic that is created without saying how many. Without it as \
                        many as the cluster has nodes when the topic is created, three at most.",
        store: |config, value| {
            let replicas = u32::try_from(value.number()).expect("the setting's largest value fits");
            config.node.default_replication_factor = Some(replicas);
        },
    },
    Setting {
        name: "groups.session_timeout",
        kind: Kind::Duration { min: Duration::from_millis(100), max: Duration::from_secs(30 * 60) },
        default: Is("15s"),
        example: "45s",
        documentation: "After how much silence a member of a consumer group is taken for dead and its partitions go to \
                        others. Members are asked for five signs of life in that time. Of a group the node counts \
                        that coordinates it, so it is best the same on all.",
        store: |config, value| {
            config.node.groups = config.node.groups.clone().with_session_timeout(value.duration());
        },
    },
    Setting {
        name: "groups.offsets_retention",
        kind: Kind::Duration {
            min: Duration::from_secs(60),
            max: Duration::from_secs(10 * 365 * 24 * 60 * 60),
        },
        default: Is("7days"),
        example: "30days",
        documentation: "How long the offsets of a consumer group are kept after its last member is gone, or after the \
                        last commit where it has none.",
        store: |config, value| config.node.groups.offsets_retention = value.duration(),
    },
    Setting {
        name: "groups.members_max",
        kind: Kind::Number { min: 1, max: limits::GROUP_MEMBERS_MAX as u64 },
        default: Is("10000"),
        example: "100",
        documentation: "Most members of one consumer group.",
        store: |config, value| {
            config.node.groups.members_max =
                usize::try_from(value.number()).expect("the setting's largest value fits");
        },
    },
    Setting {
        name: "groups.shards",
        kind: Kind::Number { min: 1, max: 1000 },
        default: Is("16"),
        example: "64",
        documentation: "Shards that the cluster's consumer groups are divided into, each with a coordinator. Counts on the \
                        node that the cluster's first group is met at, and then stays.",
        store: |config, value| {
            config.node.group_shards = u32::try_from(value.number()).expect("the setting's largest value fits");
        },
    },
    Setting {
        name: "limits.connections",
        kind: Kind::Number { min: 1, max: 1_000_000 },
        default: Is("10000"),
        example: "1000",
        documentation: "Most connections of clients on one listener. Each needs a file descriptor.",
        store: |config, value| {
            config.node.connections_max =
                usize::try_from(value.number()).expect("the setting's largest value fits");
        },
    },
    Setting {
        name: "journal.file_bytes",
        // The largest batch must fit three quarters of a file; the disk's reserve counts on the default.
        kind: Kind::Bytes { min: 32 * MIB, max: limits::JOURNAL_FILE_BYTES },
        default: Is("64MiB"),
        example: "32MiB",
        documentation: "Size of one file of the journal. Files are filled with zeros before they are used, and used \
                        again.",
        store: |config, value| config.node.journal.file_bytes = value.number(),
    },
    Setting {
        name: "journal.checkpoint_bytes",
        kind: Kind::Bytes { min: 16 * MIB, max: limits::JOURNAL_CHECKPOINT_BYTES },
        default: Is("128MiB"),
        example: "32MiB",
        documentation: "How much is written to the journal between two checkpoints, and so about how much a start \
                        reads after a crash. Less makes such a start shorter and costs more writing.",
        store: |config, value| config.node.journal.checkpoint_bytes = value.number(),
    },
    Setting {
        name: "journal.bytes_max",
        kind: Kind::Bytes { min: 2 * limits::JOURNAL_CHECKPOINT_BYTES, max: 64 << 30 },
        default: Is("1GiB"),
        example: "512MiB",
        documentation: "Size of the journal at which producers wait for the checkpoint that is under way. It bounds \
                        the disk space that the journal takes, and the time of the longest start.",
        store: |config, value| config.node.journal.bytes_max = value.number(),
    },
    Setting {
        name: "replication.catch_up_rate",
        kind: Kind::Bytes { min: 0, max: 1 << 40 },
        default: Is("64MiB"),
        example: "16MiB",
        documentation: "How many bytes a second replicas may take together to catch up with partitions that this node \
                        leads, and to repair damaged records of this node: moved and new replicas, and those that \
                        were away. Replicas in step are never held back. 0 sets no bound.",
        store: |config, value| config.node.catch_up_bytes_per_second = value.number(),
    },
    Setting {
        name: "scrub.rate",
        kind: Kind::Bytes { min: 0, max: 1 << 40 },
        default: Is("8MiB"),
        example: "32MiB",
        documentation: "How many bytes a second of the stored records are read and checked, again and again, so that \
                        damage is found and repaired before somebody needs them. 0 reads none.",
        store: |config, value| config.node.scrub_bytes_per_second = value.number(),
    },
    Setting {
        name: "log.level",
        kind: Kind::LogFilter,
        default: Is("info"),
        example: "warn,highwater_storage=debug,openraft=warn",
        documentation: "What is logged to standard error. Nothing of the library that does Raft, openraft, unless it is \
                        named: what matters of it the node says in its own words.",
        store: |config, value| config.log_level = value.text(),
    },
    Setting {
        name: "log.format",
        kind: Kind::Word(&["text", "json"]),
        default: Is("text"),
        example: "json",
        documentation: "What a line of the log looks like: text for people, json for programs. With json everything \
                        the node says while it runs is a line of the log.",
        store: |config, value| {
            config.log_format = if value.text() == "json" { LogFormat::Json } else { LogFormat::Text };
        },
    },
    Setting {
        name: "shutdown.deadline",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(60 * 60) },
        default: Is("10s"),
        example: "30s",
        documentation: "How long a node that was told to stop waits for the requests under way. The checkpoint after \
                        that takes its own time.",
        store: |config, value| config.node.shutdown_deadline = value.duration(),
    },
    Setting {
        name: "maintenance.interval",
        kind: Kind::Duration { min: Duration::from_millis(10), max: Duration::from_secs(60 * 60) },
        default: Is("10s"),
        example: "1m",
        documentation: "How often retention and other upkeep look at every partition.",
        store: |config, value| config.node.maintenance_interval = value.duration(),
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use highwater_server::NodeConfig;

    use super::super::serve_config::ServeConfig;
    use super::*;

    #[test]
    fn every_default_and_example_is_of_its_kind_and_finds_its_place() {
        for setting in SETTINGS {
            let Setting { name, kind, .. } = setting;
            let mut config = ServeConfig::blank();
            if let Is(default) = setting.default {
                let value = kind.parse(default).unwrap_or_else(|| panic!("{name}: {default}"));
                assert_eq!(value.to_string(), default, "{name}");
                (setting.store)(&mut config, value);
            }
            let before = format!("{config:?}");
            assert_ne!(setting.default, Is(setting.example), "{name}");
            let value = kind.parse(setting.example).unwrap_or_else(|| panic!("{name}: {}", setting.example));
            (setting.store)(&mut config, value);
            // The one value that a blank configuration has already.
            if *name != "node.id" {
                assert_ne!(format!("{config:?}"), before, "{name} is not stored");
            }
        }
    }

    #[test]
    fn names_variables_and_flags_are_unique() {
        for name_of in [Setting::variable, Setting::flag, |setting: &Setting| setting.name.to_owned()] {
            let names: BTreeSet<String> = SETTINGS.iter().map(name_of).collect();
            assert_eq!(names.len(), SETTINGS.len());
        }
    }

    #[test]
    fn the_defaults_are_those_of_a_node_that_nobody_configured() {
        let mut config = ServeConfig::blank();
        for setting in SETTINGS {
            if let Is(default) = setting.default {
                (setting.store)(&mut config, setting.kind.parse(default).expect("the default is of its kind"));
            }
        }
        assert_eq!(format!("{:?}", config.node), format!("{:?}", NodeConfig::local("".into())));
    }
}
