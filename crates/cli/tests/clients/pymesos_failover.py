"""Finds the leading master by its ZooKeeper URL with pymesos, unmodified, and goes on after the leader is replaced.

usage: pymesos_failover.py ZK_URL

Prints `ready` when a task runs, then waits for the next leader; ends with status 0 only when all steps worked.
"""

import sys

from pymesos import MesosSchedulerDriver

from pymesos_scheduler import Recorder, task


def main(url):
    scheduler = Recorder()
    framework = {"user": "root", "name": "pymesos failover", "checkpoint": True, "failover_timeout": 60}
    driver = MesosSchedulerDriver(scheduler, framework, url)
    driver.start()
    scheduler.next("registered")
    offer = scheduler.next("offer")
    driver.launchTasks(offer["id"], [task(offer, "long", command={"value": "sleep 1000"})], {"refuse_seconds": 0})
    scheduler.state("long", "TASK_RUNNING")
    print("ready", flush=True)

    scheduler.next("reregistered")
    scheduler.next("offer")
    driver.reconcileTasks([{"task_id": {"value": "long"}}])
    scheduler.state("long", "TASK_RUNNING")
    driver.killTask({"value": "long"})
    scheduler.state("long", "TASK_KILLED")
    driver.stop()
    driver.join()
    print("all steps passed")


if __name__ == "__main__":
    main(sys.argv[1])
