"""A cluster as seen from outside: a list of nodes, any of which answers every call.

A call goes to one node. When that is gone, or cannot reach who leads what the call is about, the same call goes to the next
node. So one address in front of all nodes, such as a load balancer's, works as well as a list.
"""

import os
import sys
import time

# The generated code is where ./setup puts it.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".venv", "generated"))

import grpc
from highwater.v1 import admin_service_pb2_grpc, group_service_pb2_grpc, log_service_pb2_grpc

# What can be over a moment later: an election, a node that starts, a full disk, a call that took too long.
PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# How long one call may take before another node is asked. A node that stands still keeps its connections and says nothing, so only
# this tells of it, and it is the pause that its callers notice: a little more than what they let a node wait on purpose
# (`max_wait_ms` of a fetch), and no more than an election takes. That a call is made again changes nothing for one that reads. A
# produce that was cut off here may have been appended all the same, and its lines are there twice then: the shorter this is, the more
# often. Whoever cannot have that builds batches with a producer id and sequence numbers; those may be sent again and again. What
# changes topics or nodes is better given more time.
CALL_SECONDS = 1.5
DEFAULT_SERVERS = os.environ.get("HIGHWATER_SERVER", "127.0.0.1:7400")


class Cluster:
    """Nodes by their addresses, as in "127.0.0.1:7400,127.0.0.1:7410"."""

    def __init__(self, servers: str, give_up_after: float = 30.0):
        # A channel connects by itself, and again after it broke; by default it may wait two minutes before it does.
        options = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.max_receive_message_length", 64 << 20)]
        channels = [grpc.insecure_channel(server, options) for server in servers.split(",")]
        self._logs = [log_service_pb2_grpc.LogServiceStub(channel) for channel in channels]
        self._admins = [admin_service_pb2_grpc.AdminServiceStub(channel) for channel in channels]
        self._groups = [group_service_pb2_grpc.GroupServiceStub(channel) for channel in channels]
        self._current = 0
        self._give_up_after = give_up_after

    def log(self, method: str, request, timeout: float = CALL_SECONDS):
        """Calls a method of LogService, at one node after another until one answers."""
        return self._call(self._logs, method, request, timeout)

    def admin(self, method: str, request, timeout: float = CALL_SECONDS):
        """Calls a method of AdminService in the same way."""
        return self._call(self._admins, method, request, timeout)

    def group_session(self, requests):
        """Opens a session of a consumer group at one node. It lasts as long as the node does."""
        return self._groups[self._current].GroupSession(requests)

    def next_server(self):
        """Goes on with another node."""
        self._current = (self._current + 1) % len(self._logs)

    def _call(self, stubs, method, request, timeout):
        give_up_at = time.monotonic() + self._give_up_after
        while True:
            try:
                return getattr(stubs[self._current], method)(request, timeout=timeout)
            except grpc.RpcError as error:
                if error.code() not in PASSING or time.monotonic() >= give_up_at:
                    raise
            self.next_server()
            time.sleep(0.1)


def partitions_of(cluster: Cluster, topic: str) -> int:
    """How many partitions a topic has."""
    from highwater.v1 import admin_service_pb2

    result = cluster.admin("DescribeTopics", admin_service_pb2.DescribeTopicsRequest(names=[topic])).results[0]
    if result.HasField("error"):
        sys.exit(f"{result.error.message} ({result.error.code})")
    return len(result.topic.partitions)
