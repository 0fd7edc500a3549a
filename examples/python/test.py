"""Runs the programs against three nodes of which one is killed, and compares what was acknowledged with what is read.

Call ./test, which sets everything up. HIGHWATER_BINARY names the binary.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).parent
BINARY = os.environ["HIGHWATER_BINARY"]
LINES = 20_000
PATIENCE = 90


def highwater(*arguments):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"highwater {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def wait_for(what, condition, cluster):
    """Waits until it is so; fails when that takes too long, or the cluster ends."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline or cluster.poll() is not None:
            sys.exit(f"it never came that {what}")
        time.sleep(0.05)


def servers_in(folder):
    layout = json.loads((folder / "cluster.json").read_text())
    return [f"127.0.0.1:{layout['port'] + 10 * node}" for node in range(layout["nodes"])]


def ready(server):
    """Whether a node says that it serves: its HTTP listens two ports above its gRPC."""
    host, port = server.split(":")
    try:
        return urllib.request.urlopen(f"http://{host}:{int(port) + 2}/readyz", timeout=1).status == 200
    except OSError:
        return False


def produce_through_a_kill(cluster, folder, topic, servers, victim):
    """Sends lines while a node dies; returns what was acknowledged, as the producer printed it."""
    acked = folder / f"{topic}.acked"
    with acked.open("w") as out:
        producer = subprocess.Popen(
            [sys.executable, HERE / "producer.py", topic, "--servers", servers],
            stdin=subprocess.PIPE, stdout=out, text=True,
        )
        for number in range(LINES):
            if number == LINES // 2:
                producer.stdin.flush()
                wait_for("something is acknowledged", lambda: acked.stat().st_size > 0, cluster)
                print(highwater("dev", "kill", str(victim), "--data", str(folder)).strip())
            producer.stdin.write(f"line {number}\n")
        producer.stdin.close()
        if producer.wait(timeout=PATIENCE) != 0:
            sys.exit("the producer failed")
    return acked.read_text().splitlines()


def check(topic, servers, acked):
    read = subprocess.run(
        [sys.executable, HERE / "consumer.py", topic, "--servers", servers, "--until-end"],
        check=True, capture_output=True, text=True, timeout=PATIENCE,
    ).stdout.splitlines()
    lost = set(acked) - set(read)
    values = {line.split("\t", 2)[2] for line in read}
    print(f"{topic}: {len(acked)} acknowledged, {len(read)} read, {len(lost)} lost, {len(read) - len(values)} repeated")
    if lost or len(acked) != LINES or len(values) != LINES:
        sys.exit(f"lost: {sorted(lost)[:10]}")


def lag_of(servers):
    """The groups with their members and lag, by name: those that have a coordinator now."""
    command = [BINARY, "group", "lag", "--output", "json", "--server", servers]
    printed = subprocess.run(command, capture_output=True, text=True).stdout
    return {lag["group"]: lag for lag in json.loads(printed or "[]")}


def share(cluster, folder, topic, group, servers, victim):
    """Two consumers share a topic while a node dies; then one of them is killed, and another one joins."""

    consumers, outs = [], []

    def join(name):
        outs.append(folder / f"{name}.lines")
        command = [sys.executable, HERE / "group_consumer.py", topic, "--group", group, "--servers", servers]
        consumers.append(subprocess.Popen(command, stdout=outs[-1].open("w")))

    def settled(members):
        lag = lag_of(servers).get(group)
        return lag is not None and lag["state"] == "stable" and lag["members"] == members

    def printed():
        return [line.split("\t", 2)[2] for out in outs for line in out.read_text().splitlines(keepends=True) if line.endswith("\n")]

    try:
        join("first")
        join("second")
        wait_for("two consumers share the topic", lambda: settled(2), cluster)
        produce_through_a_kill(cluster, folder, topic, servers, victim)
        wait_for("both print", lambda: all(out.stat().st_size > 0 for out in outs), cluster)
        consumers[0].kill()
        join("third")
        highwater("dev", "start", str(victim), "--data", str(folder))
        wait_for("a third one has its place", lambda: settled(2), cluster)
        wait_for("every line is printed", lambda: len(set(printed())) == LINES, cluster)
        wait_for("all of it is committed", lambda: lag_of(servers).get(group, {}).get("lag") == 0, cluster)
        for consumer in consumers[1:]:
            consumer.send_signal(signal.SIGINT)
            if consumer.wait(timeout=PATIENCE) != 0:
                sys.exit("a consumer failed")
        # Who leaves is gone at once: no session has to end.
        if lag_of(servers)[group]["members"] > 0:
            sys.exit("a consumer that ended is a member still")
    finally:
        for consumer in consumers:
            consumer.kill()
            consumer.wait()
    lines = printed()
    print(f"{topic}: {len(set(lines))} lines shared by three, {len(lines) - len(set(lines))} printed again")


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "cluster"
        log = open(pathlib.Path(temporary) / "dev.log", "w")
        cluster = subprocess.Popen(
            [BINARY, "dev", "--nodes", "3", "--port", "0", "--data", str(folder)], stdout=log, stderr=log
        )
        try:
            wait_for("the cluster has its ports", (folder / "cluster.json").exists, cluster)
            servers = servers_in(folder)
            wait_for("all nodes serve", lambda: all(ready(server) for server in servers), cluster)
            # Told of all nodes, of which one dies; then of one node only, behind which another dies.
            for topic, known, victim in [("listed", ",".join(servers), 1), ("behind-one", servers[2], 2)]:
                highwater("topic", "create", topic, "--partitions", "3", "--replication-factor", "3",
                          "--server", ",".join(servers))
                acked = produce_through_a_kill(cluster, folder, topic, known, victim)
                highwater("dev", "start", str(victim), "--data", str(folder))
                check(topic, known, acked)
            every = ",".join(servers)
            highwater("topic", "create", "shared", "--partitions", "4", "--replication-factor", "3", "--server", every)
            share(cluster, folder, "shared", "readers", every, 3)
        finally:
            cluster.send_signal(signal.SIGINT)
            cluster.wait(timeout=PATIENCE)


if __name__ == "__main__":
    main()
