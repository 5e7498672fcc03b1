# limit.py NUMBER HOST PORT: makes that many connections at once and prints how many are reset or ended.
import selectors
import socket
import sys

number, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
waiting = selectors.DefaultSelector()
refused = 0
for _ in range(number):
    try:
        peer = socket.create_connection((host, port))
    except ConnectionError:
        refused += 1
        continue
    peer.setblocking(False)
    waiting.register(peer, selectors.EVENT_READ)
while ready := waiting.select(timeout=3):
    for key, _ in ready:
        waiting.unregister(key.fileobj)
        refused += 1
print(refused)
