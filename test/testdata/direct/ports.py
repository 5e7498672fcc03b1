"""ports.py: takes all ports that a connection could get, tries to connect, and again without them."""

import errno
import socket

with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as f:
    f.write("40000 40009")


def connect():
    with socket.socket() as s:
        try:
            s.connect(("203.0.113.1", 8333))
            s.recv(1)
            return "connected"
        except OSError as e:
            return errno.errorcode[e.errno]


taken = [socket.socket() for _ in range(10)]
for i, s in enumerate(taken):
    s.bind(("", 40000 + i))
print(connect())
for s in taken:
    s.close()
print(connect())
