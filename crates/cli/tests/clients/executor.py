"""An executor on pymesos' executor driver: runs several tasks, echoes messages, kills on request."""

import sys
from threading import Thread

from pymesos import Executor, MesosExecutorDriver


class Echo(Executor):
    def __init__(self):
        self.running = set()

    def status(self, driver, task_id, state, message=None):
        update = {"task_id": {"value": task_id}, "state": state}
        if message:
            update["message"] = message
        driver.sendStatusUpdate(update)

    def launchTask(self, driver, task):
        task_id = task["task_id"]["value"]
        self.running.add(task_id)

        def work():
            self.status(driver, task_id, "TASK_RUNNING")
            if task_id.startswith("short"):
                self.running.discard(task_id)
                self.status(driver, task_id, "TASK_FINISHED", "done by " + task_id)

        Thread(target=work).start()

    def killTask(self, driver, task_id):
        task_id = task_id["value"]
        if task_id in self.running:
            self.running.discard(task_id)
            self.status(driver, task_id, "TASK_KILLED")

    def frameworkMessage(self, driver, message):
        driver.sendFrameworkMessage(message)


if __name__ == "__main__":
    driver = MesosExecutorDriver(Echo())
    driver.run()
    sys.exit(0)
