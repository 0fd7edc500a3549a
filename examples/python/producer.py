#!/usr/bin/env python3
"""Sends each line of standard input as a record, and prints where each one is once it is safe there.

    seq 1 1000 | ./producer.py lines --servers 127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420

An answer means that a majority of the partition's replicas has the records on disk. A call that had no answer is made again,
at another node: no line is lost, and a line whose answer was lost may be there twice. (Clients that build their batches
themselves can number them, and the cluster leaves out what it has already; the Rust client does.)
"""

import argparse
import itertools
import sys

from cluster import DEFAULT_SERVERS, Cluster, partitions_of
from highwater.v1 import log_service_pb2, records_pb2

LINES_PER_CALL = 100


def main():
    parser = argparse.ArgumentParser(description="Sends each line of standard input as a record.")
    parser.add_argument("topic")
    parser.add_argument("--servers", default=DEFAULT_SERVERS, help="nodes as host:port, separated by commas")
    arguments = parser.parse_args()
    cluster = Cluster(arguments.servers)
    partitions = partitions_of(cluster, arguments.topic)

    for turn in itertools.count():
        lines = [line.rstrip("\n") for line in itertools.islice(sys.stdin, LINES_PER_CALL)]
        if not lines:
            return
        # One partition after the other. Within a partition, records stay in the order in which they were sent.
        request = log_service_pb2.ProduceRequest(
            topic=arguments.topic,
            partition=turn % partitions,
            records=records_pb2.RecordList(records=[records_pb2.Record(value=line.encode()) for line in lines]),
        )
        answer = cluster.log("Produce", request)
        for offset, line in enumerate(lines, answer.base_offset):
            print(f"{request.partition}\t{offset}\t{line}", flush=True)


if __name__ == "__main__":
    main()
