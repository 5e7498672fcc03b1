# A client of the tests whose proxy is killed: killed.py PORT HOST... It connects to the first host as client.py does,
# waits for the end of the connection, and tries to connect again, to each.
import socket
import sys

port, hosts = int(sys.argv[1]), sys.argv[2:]
version = sys.stdin.buffer.read()
with socket.create_connection((hosts[0], port)) as peer:
    peer.sendall(version)
    peer.recv(1)
    print("connected", flush=True)
    try:
        while peer.recv(65536):
            pass
    except ConnectionError:
        pass
    print("cut off", flush=True)
for host in hosts:
    try:
        with socket.create_connection((host, port), timeout=60) as peer:  # to a listener that is just closing
            peer.sendall(version)
            if peer.recv(1):
                print("heard from", host, "again", flush=True)
    except OSError as err:
        print(f"{host}: {err}", flush=True)
print("the end", flush=True)
