# A program of the tests that tries ways out other than TCP: other_ways.py HOST PORT OUTSIDE, where OUTSIDE is a port of
# the machine's loopback. It prints what got somewhere; it must print nothing.
import os
import socket
import stat
import sys

host, port, outside = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def attempt(what, *args, send=None, connect=None):
    try:
        with socket.socket(*args) as s:
            s.settimeout(0.2)
            if connect:
                s.connect(connect)
                print(what, "connected to", connect)
            else:
                s.sendto(send or b"x" * 64, (host, port))
                s.sendto(send or b"x" * 64, ("255.255.255.255", port))
            print(what, "got", s.recv(100))
    except OSError:
        pass


for fd in range(256):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            print("inherited socket", fd)
    except OSError:
        pass
for family in set(range(64)) - {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_ALG}:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET:  # such as vsock's
        try:
            socket.socket(family, kind).close()
            print("a socket of family", family, "type", kind)
        except OSError:
            pass
attempt("UDP", socket.AF_INET, socket.SOCK_DGRAM)
attempt("ping", socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP, send=b"\x08\0\xf7\xff\0\0\0\0")
attempt("raw", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP, send=b"\x08\0\xf7\xff\0\0\0\0")
attempt("UDP-Lite", socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDPLITE)
attempt("SCTP", socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP, connect=(host, port))
attempt("loopback", socket.AF_INET, socket.SOCK_STREAM, connect=("127.0.0.1", outside))
attempt("abstract socket", socket.AF_UNIX, socket.SOCK_STREAM, connect=f"\0other ways {outside}")
