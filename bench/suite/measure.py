"""Runs one command and says what it took, the whole process tree: prints one JSON object.

    python3 -S measure.py LIMIT OUTPUT COMMAND…

A process of its own for each measurement, since the kernel keeps the largest peak of all children. It is a subreaper:
what the command leaves behind is waited for and counted.

* `user`, `system`: CPU seconds of the whole tree (rusage of all that was reaped).
* `own`: CPU seconds of the command's first process alone, all threads, read from /proc while it is a zombie; so
  neither its children nor the ones they started are in it. Steps of 10 ms.
* `helper`: the same of its descendants that run the same program (`pipe`'s host process), last sample.
* `peak_mb`: largest sum over the tree of proportional set sizes, ten samples a second, or the largest single
  process (rusage), whichever is more. Floor: 9 MB, what this script has when it forks.
* `own_peak_mb`: VmHWM of the first process, last sample; absent if it ended before the first.
* `others`: CPU seconds that the rest of the machine used meanwhile: how busy it was with something else.
"""
import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36
SAMPLE = 0.1


def stat_of(process):
    """Parent, CPU seconds of its own, start time; None when it is gone."""
    try:
        with open(f"/proc/{process}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK


def tree(root):
    """CPU seconds by process, of `root` and all below it (or left to this process)."""
    processes = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := stat_of(name)):
            processes[int(name)] = found
    wanted, known = {root}, {os.getpid(), root}
    grew = True
    while grew:
        grew = False
        for process, (parent, _) in processes.items():
            if process not in known and parent in known:
                known.add(process)
                wanted.add(process)
                grew = True
    return {process: processes[process][1] for process in wanted if process in processes}


def kilobytes(process, file, field):
    try:
        with open(f"/proc/{process}/{file}") as lines:
            for line in lines:
                if line.startswith(field):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def program(process):
    try:
        return os.readlink(f"/proc/{process}/exe")
    except OSError:
        return None


def machine():
    """CPU seconds of the whole machine, at work."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


class Sampler(threading.Thread):
    def __init__(self, root, limit):
        super().__init__(daemon=True)
        self.root, self.deadline = root, time.monotonic() + limit
        self.peak = self.own_peak = 0
        self.same, self.helper, self.timed_out = None, {}, False
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(SAMPLE):
            now = tree(self.root)
            self.same = program(self.root) or self.same
            self.peak = max(self.peak, sum(kilobytes(process, "smaps_rollup", "Pss:") for process in now))
            self.own_peak = max(self.own_peak, kilobytes(self.root, "status", "VmHWM:"))
            for process, cpu in now.items():
                if process != self.root and (process in self.helper or program(process) == self.same):
                    self.helper[process] = cpu
            if time.monotonic() > self.deadline and not self.timed_out:
                self.timed_out = True
                for process in now:
                    os.kill(process, signal.SIGKILL)


def main():
    limit, output, command = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    busy, began = machine(), time.monotonic()
    root = os.fork()
    if root == 0:
        try:
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(file, 1)
            os.dup2(file, 2)
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    sampler = Sampler(root, limit)
    sampler.start()
    os.waitid(os.P_PID, root, os.WEXITED | os.WNOWAIT)
    wall = time.monotonic() - began
    sampler.over.set()
    own = stat_of(root)[1]
    _, status = os.waitpid(root, 0)
    sampler.join()
    left = 0
    while True:
        try:
            os.waitpid(-1, 0)
            left += 1
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(json.dumps({
        "wall": round(wall, 4), "user": round(used.ru_utime, 4), "system": round(used.ru_stime, 4),
        "own": round(own, 2), "helper": round(sum(sampler.helper.values()), 2),
        "peak_mb": round(max(sampler.peak, used.ru_maxrss) / 1024, 1),
        "own_peak_mb": round(sampler.own_peak / 1024, 1) or None,
        "others": round(max(0.0, machine() - busy - cpu), 2), "left": left,
        "exit": "time limit" if sampler.timed_out else os.waitstatus_to_exitcode(status),
    }))


if __name__ == "__main__":
    main()
