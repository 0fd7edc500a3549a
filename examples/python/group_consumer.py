#!/usr/bin/env python3
"""Prints this consumer's share of a topic: those that name the same group share its partitions.

    ./group_consumer.py lines --group readers --servers 127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420

One stream to any node is all of it: the node keeps the consumer in the group, fetches its records from wherever they are, and says which
partitions come and go. What was printed is committed, and the next owner of a partition goes on there. A consumer that dies after it
printed a record and before that was committed leaves the record to be printed again: every line is there at least once.
"""

import argparse
import queue
import signal
import sys
import time

import grpc
from cluster import DEFAULT_SERVERS, PASSING, Cluster
from highwater.v1 import group_service_pb2 as group
from highwater.v1 import log_service_pb2, records_pb2

CREDIT_BYTES = 1 << 20
RETRY_SECONDS = 0.2


class GroupConsumer:
    """A member of a group, through whatever node can be reached."""

    def __init__(self, cluster: Cluster, start: group.GroupSessionStart):
        self._cluster = cluster
        self._start = start
        self._requests = queue.SimpleQueue()
        self._leaves = False

    def run(self, handle):
        """Has `handle` process what comes, push by push, until `leave`."""
        while not self._leaves:
            try:
                self._session(handle)
            except grpc.RpcError as error:
                if error.code() not in PASSING:
                    raise
                # The node is gone, or has no way to the group's coordinator for now.
                self._cluster.next_server()
                time.sleep(RETRY_SECONDS)

    def leave(self):
        """Hands the partitions over at once. What is being processed meanwhile is not committed any more, and comes to another."""
        self._leaves = True
        self._requests.put(None)

    def _session(self, handle):
        requests = self._requests = queue.SimpleQueue()
        requests.put(group.GroupSessionRequest(start=self._start))
        if self._leaves:
            return
        try:
            # None ends the requests, and that says that the consumer leaves; what it asked for before is done first.
            for response in self._cluster.group_session(iter(requests.get, None)):
                what = response.WhichOneof("message")
                if what == "joined":
                    # Whoever comes back with this id before the session is over goes on where it was.
                    self._start.member_id = response.joined.member_id
                elif what == "push" and not self._leaves:
                    push = response.push
                    handle(push)
                    # What is done is committed, and there is room for as much again.
                    done = group.OffsetCommit(
                        topic=push.topic, topic_id=push.topic_id, partition=push.partition, offset=push.data.next_offset
                    )
                    requests.put(group.GroupSessionRequest(commit=group.GroupSessionCommit(offsets=[done])))
                    credit = log_service_pb2.SubscribeCredit(bytes=push.charged_bytes)
                    requests.put(group.GroupSessionRequest(credit=credit))
                elif what == "revoked" and not response.revoked.is_lost:
                    # All that came before this is done and committed: the partitions may go.
                    released = group.GroupSessionReleased(topics=response.revoked.topics)
                    requests.put(group.GroupSessionRequest(released=released))
                tell(what, response)
        finally:
            requests.put(None)


def tell(what, response):
    """Says which partitions come and go, and what cannot be committed."""
    if what == "assigned":
        got = [f"{of.topic}-{of.partition} from offset {of.start_offset}" for of in response.assigned.partitions]
        print("got", ", ".join(got), file=sys.stderr)
    elif what == "revoked":
        gone = [f"{of.topic}-{partition}" for of in response.revoked.topics for partition in of.partitions]
        print("lost" if response.revoked.is_lost else "gave up", ", ".join(gone), file=sys.stderr)
    elif what == "committed":
        for result in response.committed.results:
            if result.HasField("error"):
                print(f"not committed: {result.error.message} ({result.error.code})", file=sys.stderr)


def show(push):
    """Prints the records. They are out when this returns: then they may be committed."""
    for record in push.data.records:
        print(f"{push.partition}\t{record.offset}\t{record.value.decode()}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description="Prints this consumer's share of a topic.")
    parser.add_argument("topic")
    parser.add_argument("--group", required=True, help="whom to share the topic with")
    parser.add_argument("--servers", default=DEFAULT_SERVERS, help="nodes as host:port, separated by commas")
    arguments = parser.parse_args()
    start = group.GroupSessionStart(
        group=arguments.group,
        topics=[arguments.topic],
        client_id="group_consumer.py",
        credit_bytes=CREDIT_BYTES,
        format=records_pb2.RECORD_FORMAT_RECORDS,
    )
    consumer = GroupConsumer(Cluster(arguments.servers), start)
    signal.signal(signal.SIGINT, lambda *_: consumer.leave())
    try:
        consumer.run(show)
    except grpc.RpcError as error:
        sys.exit(f"{error.details()} ({error.code().name})")


if __name__ == "__main__":
    main()
