#!/usr/bin/env python3
"""Prints every record of a topic, from the first one on, and waits for more.

    ./consumer.py lines --servers 127.0.0.1:7400 [--until-end]

It reads with Fetch, a long poll: an answer comes when there is something to read, or after half a second. What was read is
committed, and stays at its offset for ever.
"""

import argparse
import sys

from cluster import DEFAULT_SERVERS, Cluster, partitions_of
from highwater.v1 import log_service_pb2, records_pb2


def main():
    parser = argparse.ArgumentParser(description="Prints every record of a topic.")
    parser.add_argument("topic")
    parser.add_argument("--servers", default=DEFAULT_SERVERS, help="nodes as host:port, separated by commas")
    parser.add_argument("--until-end", action="store_true", help="end when everything is read")
    arguments = parser.parse_args()
    cluster = Cluster(arguments.servers)

    # Where each partition is read next.
    offsets = first_offsets(cluster, arguments.topic)
    while offsets:
        request = log_service_pb2.FetchRequest(
            partitions=[
                log_service_pb2.FetchPartition(topic=arguments.topic, partition=partition, offset=offset)
                for partition, offset in offsets.items()
            ],
            max_wait_ms=500,
            format=records_pb2.RECORD_FORMAT_RECORDS,
        )
        for result in cluster.log("Fetch", request).results:
            if result.HasField("error"):
                # A partition without a leader for a moment; the others go on.
                if not result.error.retriable:
                    sys.exit(f"partition {result.partition}: {result.error.message} ({result.error.code})")
                cluster.next_server()
                continue
            for record in result.data.records:
                print(f"{result.partition}\t{record.offset}\t{record.value.decode()}")
            offsets[result.partition] = result.data.next_offset
            if arguments.until_end and result.data.next_offset >= result.data.high_watermark:
                del offsets[result.partition]
        sys.stdout.flush()


def first_offsets(cluster: Cluster, topic: str) -> dict:
    """The first offset that each partition has."""
    offsets = {}
    wanted = set(range(partitions_of(cluster, topic)))
    while wanted:
        queries = [
            log_service_pb2.OffsetQuery(partition=partition, place=log_service_pb2.OFFSET_PLACE_EARLIEST) for partition in sorted(wanted)
        ]
        answer = cluster.log("ListOffsets", log_service_pb2.ListOffsetsRequest(topic=topic, queries=queries))
        for result in answer.results:
            if result.HasField("found"):
                offsets[result.partition] = result.found.offset
                wanted.discard(result.partition)
            elif not result.error.retriable:
                sys.exit(f"partition {result.partition}: {result.error.message} ({result.error.code})")
    return offsets


if __name__ == "__main__":
    main()
