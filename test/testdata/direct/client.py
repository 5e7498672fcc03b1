# As client.c, in Python.
import socket
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as peer:
    peer.sendall(sys.stdin.buffer.read())
    heard = b""
    while heard[-20:-8] != b"verack".ljust(12, b"\0"):  # it has no payload
        more = peer.recv(65536)
        if not more:
            sys.exit(f"{sys.argv[1]}: the peer closed the connection after {len(heard)} bytes")
        heard += more
    sys.stdout.buffer.write(heard)
