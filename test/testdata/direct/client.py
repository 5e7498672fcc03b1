# As client.c, in Python: client.py HOST PORT [mptcp | fastopen].
import socket
import sys

host, port, kind = *sys.argv[1:3], "".join(sys.argv[3:])
version = sys.stdin.buffer.read()
family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_MPTCP if kind == "mptcp" else 0) as peer:
    if kind == "fastopen":
        peer.sendto(version, socket.MSG_FASTOPEN, address)
    else:
        peer.connect(address)
        peer.sendall(version)
    heard = b""
    while heard[-20:-8] != b"verack".ljust(12, b"\0"):  # it has no payload
        more = peer.recv(65536)
        if not more:
            sys.exit(f"{host}: the peer closed the connection after {len(heard)} bytes")
        heard += more
    sys.stdout.buffer.write(heard)
