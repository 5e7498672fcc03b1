"""many.py COUNT: opens that many connections at once, and says how they end."""

import collections
import resource
import selectors
import socket
import sys

count = int(sys.argv[1])
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
ends = collections.Counter()
with selectors.DefaultSelector() as waiting:
    for i in range(count):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((f"203.0.113.{1 + i % 250}", 8333))
        waiting.register(s, selectors.EVENT_READ)
    while waiting.get_map():
        for key, _ in waiting.select():
            s = key.fileobj
            waiting.unregister(s)
            try:
                ends["data" if s.recv(1) else "end"] += 1
            except ConnectionResetError:
                ends["reset"] += 1
            s.close()
print(dict(ends))
