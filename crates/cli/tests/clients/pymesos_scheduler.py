"""Drives a cluster with pymesos' scheduler driver, unmodified, and checks what comes back.

usage: pymesos_scheduler.py MASTER

Prints one line per step that worked; ends with status 0 only when all did.
"""

import os
import queue
import socket
import sys
import threading
import time
from base64 import b64decode, b64encode

from pymesos import MesosSchedulerDriver, Scheduler

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 30


class Cut(threading.Thread):
    """Forwards connections to the master until it is told to cut them all."""

    def __init__(self, master):
        super().__init__(daemon=True)
        host, port = master.split(":")
        self.target = (host, int(port))
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        self.open = []

    def run(self):
        while True:
            client, _ = self.server.accept()
            upstream = socket.create_connection(self.target)
            self.open += [client, upstream]
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for end in self.open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []


class Recorder(Scheduler):
    """Puts every callback into a queue."""

    def __init__(self):
        self.events = queue.Queue()
        self.kept = []

    def registered(self, driver, framework_id, master_info):
        self.events.put(("registered", framework_id))

    def reregistered(self, driver, master_info):
        self.events.put(("reregistered", master_info))

    def resourceOffers(self, driver, offers):
        for offer in offers:
            self.events.put(("offer", offer))

    def statusUpdate(self, driver, update):
        self.events.put(("update", update))

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        self.events.put(("message", message))

    def error(self, driver, message):
        self.events.put(("error", message))

    def next(self, kind, wanted=lambda value: True):
        for index, (k, value) in enumerate(self.kept):
            if k == kind and wanted(value):
                return self.kept.pop(index)[1]
        end = time.time() + LIMIT
        while True:
            try:
                k, value = self.events.get(timeout=max(0.01, end - time.time()))
            except queue.Empty:
                sys.exit("no %s within %d seconds; kept: %s" % (kind, LIMIT, [k for k, _ in self.kept]))
            if k == "error":
                sys.exit("error from the master: %s" % value)
            if k == kind and wanted(value):
                return value
            self.kept.append((k, value))

    def state(self, task_id, *states):
        return self.next("update", lambda u: u["task_id"]["value"] == task_id and u["state"] in states)


def scalar(name, value):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


def task(offer, task_id, **more):
    return {
        "task_id": {"value": task_id},
        "agent_id": offer["agent_id"],
        "name": task_id,
        "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
        **more,
    }


def main(master):
    cut = Cut(master)
    cut.start()
    scheduler = Recorder()
    framework = {"user": "root", "name": "pymesos test", "checkpoint": True, "failover_timeout": 60}
    driver = MesosSchedulerDriver(scheduler, framework, cut.address)
    driver.start()
    scheduler.next("registered")
    print("registered")

    offer = scheduler.next("offer")
    driver.declineOffer(offer["id"], {"refuse_seconds": 3600})
    driver.reviveOffers()
    offer = scheduler.next("offer")
    print("decline and revive: offered again")

    driver.launchTasks(offer["id"], [task(offer, "command", command={"value": "true"})], {"refuse_seconds": 0})
    scheduler.state("command", "TASK_FINISHED")
    print("a command task finished")

    offer = scheduler.next("offer")
    executor = {
        "executor_id": {"value": "echo"},
        "framework_id": {"value": driver.framework_id},
        "command": {
            "value": '"%s" "%s"' % (sys.executable, os.path.join(HERE, "executor.py")),
        },
        "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
    }
    names = ["short-1", "short-2", "long-1"]
    driver.launchTasks(
        offer["id"], [task(offer, name, executor=executor) for name in names], {"refuse_seconds": 0}
    )
    done = scheduler.state("short-1", "TASK_FINISHED")
    assert done["message"] == "done by short-1", done
    scheduler.state("short-2", "TASK_FINISHED")
    scheduler.state("long-1", "TASK_RUNNING")
    print("several tasks on one executor")

    agent_id = offer["agent_id"]
    offer = scheduler.next("offer", lambda o: o["agent_id"] == agent_id and o.get("executor_ids"))
    assert offer["executor_ids"] == [{"value": "echo"}], offer
    driver.launchTasks(offer["id"], [task(offer, "short-3", executor=executor)], {"refuse_seconds": 0})
    scheduler.state("short-3", "TASK_FINISHED")
    print("a later task on the running executor")

    text = b64encode(b"hello over there").decode()
    driver.sendFrameworkMessage({"value": "echo"}, agent_id, text)
    answer = scheduler.next("message")
    assert b64decode(answer) == b"hello over there", answer
    print("messages both ways")

    cut.cut()
    scheduler.next("reregistered")
    driver.reconcileTasks([{"task_id": {"value": "long-1"}}])
    scheduler.state("long-1", "TASK_RUNNING")
    print("reconnected after the stream was cut; the task still runs")

    driver.killTask({"value": "long-1"})
    scheduler.state("long-1", "TASK_KILLED")
    print("a task killed")

    driver.suppressOffers()
    driver.stop()
    driver.join()
    print("all steps passed")


if __name__ == "__main__":
    main(sys.argv[1])
