//! Every named limit of the node, in one place. Sizes are bytes unless the name
//! says otherwise.

/// Most a batch may hold, compressed, whatever the topic's `max.message.bytes`.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Most a batch may decompress to.
pub const BATCH_DECOMPRESSED_BYTES_MAX: usize = 64 << 20;
/// Most records in one batch.
pub const BATCH_RECORDS_MAX: usize = 1 << 20;
/// Most headers on one record.
pub const RECORD_HEADERS_MAX: usize = 10_000;

/// Longest topic name, in bytes (as in Kafka: it must fit a file name with suffixes).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Most partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 10_000;
/// Most partitions of one cluster.
pub const PARTITIONS_PER_CLUSTER_MAX: u32 = 200_000;
/// Most nodes that a cluster registers.
pub const NODES_PER_CLUSTER_MAX: usize = 1000;
/// Most incarnations of nodes that the cluster remembers as gone; the one that went first is forgotten first.
pub const RETIRED_INCARNATIONS_MAX: usize = 4096;
/// Most partitions that one metadata command moves: all of one topic always fit, as a new replication factor needs.
pub const MOVES_PER_COMMAND_MAX: usize = PARTITIONS_PER_TOPIC_MAX as usize;
/// Most partitions that a refusal names as examples.
pub const REFUSAL_EXAMPLES_MAX: usize = 5;

/// Batches remembered for each idempotent producer and partition.
pub const PRODUCER_WINDOW_BATCHES: usize = 5;
/// Most idempotent producers that one partition remembers; the one silent longest goes first.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 10_000;
/// A producer that has been silent so long is forgotten (Kafka's `producer.id.expiration.ms`).
pub const PRODUCER_EXPIRY_MS: i64 = 24 * 60 * 60 * 1000;
/// How many producer ids are handed out by one metadata entry.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Size of one journal file.
pub const JOURNAL_FILE_BYTES: u64 = 64 << 20;
/// Size of the first journal file of an empty node: small, so that it starts at once.
pub const JOURNAL_FIRST_FILE_BYTES: u64 = 4 << 20;
/// Journal room that only votes, log starts and deletes may use.
pub const JOURNAL_RESERVE_BYTES: u64 = 1 << 20;
/// Journal bytes after which a checkpoint starts.
pub const JOURNAL_CHECKPOINT_BYTES: u64 = 128 << 20;
/// Journal frames after which a checkpoint starts: a recovery keeps a few hundred bytes of memory for each.
pub const JOURNAL_CHECKPOINT_FRAMES: u64 = 250_000;
/// Journal bytes at which appends wait for the checkpoint to finish.
pub const JOURNAL_BYTES_MAX: u64 = 1 << 30;
/// Most that one group commit writes at once.
pub const JOURNAL_GROUP_BYTES_MAX: usize = 8 << 20;
/// Free space that producers cannot take, for what makes room on a full disk: checkpoints, retention, deletes, and
/// the next start, which writes the journal's tail anew before it frees the old files.
pub const DISK_RESERVE_BYTES: u64 = JOURNAL_CHECKPOINT_BYTES + JOURNAL_FILE_BYTES;
/// First allocation of a segment; it grows by doubling from there.
pub const SEGMENT_FIRST_ALLOCATION_BYTES: u64 = 64 << 10;
/// Most bytes of states at the starts of segments that a partition holds for its next checkpoint to write. Ten thousand
/// producers make some 2 MiB.
pub const BOUNDARY_STATES_BYTES_MAX: usize = 8 << 20;
/// Most bytes of entries other than batches that a group keeps for followers before it is worth purging for them alone.
pub const KEPT_ENTRIES_BYTES_MAX: usize = 4 << 20;
/// Most segments that are mapped at one time, over all partitions.
pub const MAPPED_SEGMENTS_MAX: usize = 1024;

/// Most committed entries of a group that are applied at one time: who waits for one waits for all.
pub const APPLIED_AT_ONCE_MAX: usize = 64;
/// Most that is appended and not yet committed, per partition.
pub const PARTITION_IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
/// Most produce bytes that a node holds at one time, over all connections.
pub const NODE_IN_FLIGHT_BYTES_MAX: usize = 512 << 20;
/// Most one fetch may return, whatever it asks for.
pub const FETCH_BYTES_MAX: usize = 55 << 20;
/// Longest one fetch may wait.
pub const FETCH_WAIT_MS_MAX: u64 = 5 * 60 * 1000;

/// Most connections of one listener.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Most concurrent streams of one connection.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// Largest gRPC message that a node sends: a fetch's answer.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Largest gRPC message that a node takes: the largest batch and what goes with it.
pub const GRPC_REQUEST_BYTES_MAX: usize = BATCH_BYTES_MAX + (4 << 20);
/// Most bytes of gRPC messages that a node is receiving at one time, over all connections.
pub const NODE_INBOUND_BYTES_MAX: usize = 256 << 20;
/// How long a message waits for room among those being received before it is refused.
pub const INBOUND_WAIT_MS: u64 = 30_000;
/// A message whose sender has been silent for so long in its middle makes way when others wait for room.
pub const INBOUND_STALL_MS: u64 = 1000;
/// So does one that arrives more slowly than this on the whole.
pub const INBOUND_BYTES_PER_SECOND_MIN: usize = 256 << 10;
/// HTTP/2 frame size; 64 KiB and more doubles bulk throughput.
pub const HTTP2_FRAME_BYTES: u32 = 256 << 10;
/// A reader that takes nothing for so long is disconnected.
pub const SEND_DEADLINE_MS: u64 = 30_000;
/// A reader has this much more time for a large message: slower ones are disconnected.
pub const SEND_BYTES_PER_SECOND_MIN: usize = 256 << 10;
/// Most bytes of answers that a node holds for readers that have not taken them yet.
pub const NODE_OUTBOUND_BYTES_MAX: usize = 512 << 20;
/// Most produce bytes that one stream has in flight.
pub const PRODUCE_STREAM_BYTES_MAX: usize = 64 << 20;
/// Most produce requests that one stream has in flight.
pub const PRODUCE_STREAM_REQUESTS_MAX: usize = 4096;
/// Most produce bytes that one stream has in flight for one partition: it leaves room for the others.
pub const PRODUCE_LANE_BYTES_MAX: usize = 16 << 20;
/// Most produce requests that one stream has in flight for one partition.
pub const PRODUCE_LANE_REQUESTS_MAX: usize = 1024;
/// How long a partition that stands still may hold up the other partitions of its stream.
pub const PRODUCE_LANE_STALL_MS: u64 = 1000;
/// How long a produce may take when the client does not say.
pub const PRODUCE_TIMEOUT_MS_DEFAULT: u64 = 30_000;
/// Longest a produce may take.
pub const PRODUCE_TIMEOUT_MS_MAX: u64 = 5 * 60 * 1000;
/// How long a change to the cluster's metadata may take: less than clients wait for an answer, so that they hear what is in the way.
pub const ADMIN_TIMEOUT_MS: u64 = 25_000;
/// How long new partitions are waited for before their creation is answered all the same. The same goes for it.
pub const PARTITIONS_READY_WAIT_MS: u64 = 20_000;
/// Most partitions of one fetch or subscription.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;
/// Size of one push of a subscription, when the client does not say.
pub const PUSH_BYTES_DEFAULT: usize = 1 << 20;
/// Largest push of a subscription; a single larger batch comes alone.
pub const PUSH_BYTES_MAX: usize = 8 << 20;
/// Most connections to one other node over which calls are forwarded.
pub const FORWARD_CONNECTIONS_MAX: usize = 16;
/// Most calls that one of them carries at one time: fewer than a node allows, and few enough for its window to
/// hold what all of them may have under way, so that a slow reader holds up nobody else.
pub const FORWARD_CALLS_PER_CONNECTION_MAX: usize = 128;
/// Bytes that another node may send on one forwarded call before they are taken.
pub const FORWARD_STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// Most that one fetch returns of what another node leads, whatever it asks for.
pub const FORWARDED_FETCH_BYTES_MAX: usize = 8 << 20;
/// Most bytes of records that a node is receiving from others for its clients at one time.
pub const NODE_FORWARDED_BYTES_MAX: usize = 256 << 20;
/// How much longer than a forwarded call may take its answer is waited for.
pub const FORWARD_GRACE_MS: u64 = 1000;
/// Most topics on a page of a list.
pub const TOPICS_PER_PAGE_MAX: usize = 1000;
/// Most partitions of one kind of problem that the state of the cluster lists.
pub const PROBLEMS_PER_ANSWER_MAX: usize = 1000;
/// Most moves, and most partitions that cannot move, that the description of a node lists.
pub const WAITS_PER_ANSWER_MAX: usize = 100;
/// How many partitions a node starts at one time.
pub const PARTITION_STARTS_MAX: usize = 64;

/// Largest hello, welcome or refusal, which come before a node knows who talks to it.
pub const PEER_HANDSHAKE_BYTES_MAX: usize = 4 << 10;
/// Longest that connecting to a node, handshake included, may take.
pub const PEER_CONNECT_MS: u64 = 3000;
/// Most connections from other nodes: three lanes from each, and those that are just being replaced.
pub const PEER_CONNECTIONS_MAX: usize = 4 * NODES_PER_CLUSTER_MAX;
/// Largest description of a request or an answer between nodes: some six thousand entries of an append.
pub const PEER_META_BYTES_MAX: usize = 256 << 10;
/// The same on the control lane, where nothing is large.
pub const PEER_CONTROL_META_BYTES_MAX: usize = 8 << 10;
/// Largest payload of one message between nodes: what a read of the log returns at most, and a largest batch on top.
pub const PEER_PAYLOAD_BYTES_MAX: usize = BATCH_BYTES_MAX + (8 << 20);
/// A group's state goes to another node in pieces of this size, so that others get their turn between them.
pub const PEER_CHUNK_BYTES: usize = 1 << 20;
/// Most bytes of group states that a node is receiving from others at one time, so also the largest state.
pub const PEER_SNAPSHOT_BYTES_MAX: usize = 256 << 20;
/// Most bytes that wait to be written to one node on its bulk lane.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 << 20;
/// The same on the control lane.
pub const PEER_CONTROL_QUEUE_BYTES_MAX: usize = 4 << 20;
/// Most requests to one node, on one lane, that wait for an answer.
pub const PEER_REQUESTS_MAX: usize = 16_384;
/// Most requests of one connection that are being handled; the next one is read when one is answered.
pub const PEER_SERVED_REQUESTS_MAX: usize = 1024;
/// Most bytes of requests of one connection that are being handled.
pub const PEER_SERVED_BYTES_MAX: usize = 64 << 20;
/// Most appends to one group that wait behind each other on one connection.
pub const PEER_GROUP_REQUESTS_MAX: usize = 16;
/// Most of the bytes being handled that one group's waiting appends may hold: a group that stands still leaves room.
pub const PEER_GROUP_BYTES_MAX: usize = PEER_SERVED_BYTES_MAX / 2;
/// Frames that wait are written together up to this many bytes.
pub const PEER_WRITE_BYTES: usize = 1 << 20;
/// A connection between nodes on which nothing was written for so long carries a sign of life.
pub const PEER_KEEPALIVE_MS: u64 = 1000;
/// A connection between nodes on which nothing arrives for so long is given up.
pub const PEER_SILENCE_MS: u64 = 3000;
/// So is one that takes not a byte of what waits to be written for so long.
pub const PEER_STALL_MS: u64 = 10_000;
/// First wait after a connection to a node failed; it doubles from there.
pub const PEER_REDIAL_MS_MIN: u64 = 50;
/// Longest such wait.
pub const PEER_REDIAL_MS_MAX: u64 = 2000;
/// The same on the lane of liveness, on which the cluster learns that a node is back.
pub const PEER_LIVENESS_REDIAL_MS_MAX: u64 = 250;
/// Longest reason that a node gives or takes for a refusal, in bytes.
pub const PEER_REASON_BYTES_MAX: usize = 1024;
/// Bytes a second that the scrub of stored records reads, unless a node is configured otherwise: a terabyte in a day and a half.
pub const SCRUB_BYTES_PER_SECOND: u64 = 8 << 20;
/// Bytes a second that replicas which catch up and repairs may take, unless a node is configured otherwise: a gigabyte in a
/// quarter of a minute, beside the producers.
pub const CATCH_UP_BYTES_PER_SECOND: u64 = 64 << 20;

/// Longest name of a consumer group, in bytes.
pub const GROUP_NAME_BYTES_MAX: usize = 249;
/// Longest id of a member or of an instance of one, in bytes.
pub const MEMBER_ID_BYTES_MAX: usize = 255;
/// Longest text that a member says about itself (its client's id, its host), in bytes; the rest is cut off.
pub const MEMBER_TEXT_BYTES_MAX: usize = 255;
/// Shards that a cluster's consumer groups are divided into, unless the node that creates them is configured otherwise.
pub const GROUP_SHARDS: u32 = 16;
/// Most consumer groups of one coordinator.
pub const GROUPS_MAX: usize = 10_000;
/// Most members of one group.
pub const GROUP_MEMBERS_MAX: usize = 10_000;
/// Groups in one page of a list, unless fewer are asked for.
pub const GROUPS_PER_PAGE_MAX: usize = 1000;
/// How long a member may take to give up partitions, unless it says.
pub const REBALANCE_TIMEOUT_MS_DEFAULT: u32 = 60_000;
/// How long a call about a group may take at its coordinator, in milliseconds, beside what it waits for.
pub const GROUP_CALL_TIMEOUT_MS: u64 = 6_000;
/// Most topics that one member subscribes to.
pub const GROUP_SUBSCRIPTION_TOPICS_MAX: usize = 1000;
/// Most partitions that one group has offsets of: all of the cluster.
pub const GROUP_OFFSETS_MAX: usize = PARTITIONS_PER_CLUSTER_MAX as usize;
/// Longest text that goes with a committed offset, in bytes (Kafka's `offset.metadata.max.bytes`).
pub const OFFSET_METADATA_BYTES_MAX: usize = 4096;
/// Longest that a member may take to give up partitions.
pub const REBALANCE_TIMEOUT_MS_MAX: u64 = 60 * 60 * 1000;
/// A snapshot of groups is written in pieces of about this many bytes.
pub const GROUPS_SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;
