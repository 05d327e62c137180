"""Runs a program in a terminal of its own and does to it what people do.

    terminal.py STEP… -- PROGRAM ARGUMENT…

Steps, in order: `wait:FILE` until a file is there, `say:TEXT` until the program has said it, `sleep:MS`, `touch:FILE`,
`key:C-c`, `hangup` (the terminal is closed). What the program said goes to stdout; the exit code is the program's, or 128 and
the signal that ended it.
"""

import os
import pty
import select
import sys
import time

PATIENCE = 100


def main():
    cut = sys.argv.index("--")
    steps, command = sys.argv[1:cut], sys.argv[cut + 1:]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    said = bytearray()
    open_ = True
    begun = time.monotonic()

    def listen(seconds):
        """Reads what is said; false once the terminal is closed on the other side."""
        nonlocal open_
        if not open_:
            time.sleep(seconds)
            return
        ready, _, _ = select.select([terminal], [], [], seconds)
        if ready:
            try:
                part = os.read(terminal, 65536)
            except OSError:
                part = b""
            open_ = bool(part)
            said.extend(part)

    def until(condition):
        while not condition():
            listen(0.005)
            if time.monotonic() - begun > PATIENCE:
                os.kill(pid, 9)
                sys.exit("terminal.py: waited too long; said so far: " + said.decode(errors="replace"))

    for step in steps:
        name, _, value = step.partition(":")
        if name == "wait":
            until(lambda: os.path.exists(value))
        elif name == "say":
            until(lambda: value.encode() in said)
        elif name == "sleep":
            end = time.monotonic() + int(value) / 1000
            until(lambda: time.monotonic() >= end)
        elif name == "touch":
            open(value, "w").close()
        elif name == "key" and value == "C-c":
            os.write(terminal, b"\x03")
        elif name == "hangup":
            os.close(terminal)
            open_ = False
        else:
            sys.exit("terminal.py: no such step: " + step)
    status = None

    def ended():
        nonlocal status
        if status is None:
            found, code = os.waitpid(pid, os.WNOHANG)
            status = code if found else None
        return status is not None and not open_ or status is not None and not select.select([terminal], [], [], 0)[0]

    until(ended)
    sys.stdout.buffer.write(said)
    sys.stdout.flush()
    sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


main()
