"""Runs tasks with pymesos, unmodified, and says again and again whether all of them run.

usage: pymesos_reconcile.py ZK_URL TASKS DIRECTORY

Each task writes its process id to DIRECTORY/pymesos-N. Prints `ready` when all run. For each line on the standard input
it reconciles until the leading master has told the state of every task, and prints how many are in which.
"""

import collections
import queue
import sys
import time

from pymesos import MesosSchedulerDriver

from pymesos_scheduler import Recorder, task


def reconcile(driver, scheduler, names):
    states = {}
    asked = 0.0
    while len(states) < len(names):
        if time.time() - asked > 5:
            asked = time.time()
            try:
                driver.reconcileTasks([])
            except Exception as error:  # between two masters
                print("not yet: %s" % error, file=sys.stderr)
        try:
            kind, value = scheduler.events.get(timeout=1)
        except queue.Empty:
            continue
        if kind == "update":
            states[value["task_id"]["value"]] = value["state"]
    return states


def main(url, tasks, directory):
    scheduler = Recorder()
    framework = {"user": "root", "name": "pymesos reconcile", "checkpoint": True, "failover_timeout": 3600}
    driver = MesosSchedulerDriver(scheduler, framework, url)
    driver.start()
    scheduler.next("registered")
    names = ["pymesos-%d" % n for n in range(tasks)]
    waiting = list(names)
    while waiting:
        offer = scheduler.next("offer")
        cpus = sum(r["scalar"]["value"] for r in offer["resources"] if r["name"] == "cpus")
        batch, waiting = waiting[: int(cpus * 10)], waiting[int(cpus * 10) :]
        command = "echo $$ >> %s/%s; exec sleep 100000"
        launched = [task(offer, name, command={"value": command % (directory, name)}) for name in batch]
        driver.launchTasks(offer["id"], launched, {"refuse_seconds": 0})
    for name in names:
        scheduler.state(name, "TASK_RUNNING")
    driver.suppressOffers()
    print("ready", flush=True)

    for _ in sys.stdin:
        # What is older than the question is no answer.
        while not scheduler.events.empty():
            scheduler.events.get()
        states = reconcile(driver, scheduler, names)
        assert sorted(states) == sorted(names), set(states) ^ set(names)
        counts = sorted(collections.Counter(states.values()).items())
        print(" ".join("%s=%d" % count for count in counts), flush=True)
    driver.stop(True)
    driver.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
