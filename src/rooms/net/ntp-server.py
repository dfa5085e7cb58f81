#!/usr/bin/env python3
"""Time servers that lie, one UDP port of 127.0.0.1 for each word of the command line.

Prints the ports, one a line. A word is KIND or KIND=NUMBER, see answers().
"""
import select
import socket
import struct
import sys
import time


def pack(origin, leap=0, version=4, mode=4, stratum=2, delay=0, dispersion=66, ref=b"\xc0\0\2\1", ahead=0.0, received=None, sent=None):
    now = time.time() + 2208988800 + ahead
    stamp = (int(now) & 0xFFFFFFFF) << 32 | int(now % 1 * 4294967296)
    received = stamp if received is None else received
    sent = stamp if sent is None else sent
    return struct.pack(">BBbbII4sQ8sQQ", leap << 6 | version << 3 | mode, stratum, 6, -20, delay, dispersion, ref, stamp, origin, received, sent)


def answers(kind, number, question, count):
    origin = question[40:48]
    return {
        "good": lambda: [pack(origin)],
        "ahead": lambda: [pack(origin, ahead=number)],
        "forged": lambda: [pack(b"\0" * 8), pack(bytes(8 * [255]))],
        "race": lambda: [pack(b"\0" * 8, ahead=1000.0), pack(origin)],
        "replay": lambda: [pack(first.setdefault(kind, origin), ahead=float(count - 1) * 50)],
        "twice": lambda: [pack(origin), pack(origin, ahead=50.0)],
        "late": lambda: [pack(late.get(kind, b"\0" * 8), ahead=50.0), pack(late.setdefault(kind, origin) and origin)],
        "zero": lambda: [pack(origin, sent=0)],
        "zero-received": lambda: [pack(origin, received=0)],
        "unsynchronised": lambda: [pack(origin, leap=3)],
        "stratum": lambda: [pack(origin, stratum=int(number))],
        "kiss": lambda: [pack(origin, stratum=0, ref=b"RATE")],
        "deny": lambda: [pack(origin, stratum=0, ref=b"DENY")],
        "distant": lambda: [pack(origin, dispersion=int(1.6 * 65536))],
        "mode": lambda: [pack(origin, mode=3)],
        "short": lambda: [pack(origin)[:47]],
        "empty": lambda: [b""],
        "long": lambda: [pack(origin) + b"\0" * 900],
        "silent": lambda: [],
        "deaf-twice": lambda: [] if count <= 2 else [pack(origin)],
    }[kind]()


first, late = {}, {}
sockets = {}
for word in sys.argv[1:]:
    kind, _, number = word.partition("=")
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    sockets[s] = [kind, float(number or 0), 0]
    print(s.getsockname()[1], flush=True)
questions = set()
while True:
    for s in select.select(list(sockets), [], [])[0]:
        question, peer = s.recvfrom(2048)
        state = sockets[s]
        state[2] += 1
        # A question must not tell anything about the one who asks, and must not repeat.
        if len(question) != 48 or question[0] != 0x23 or any(question[1:40]) or question[40:48] in questions:
            continue
        questions.add(question[40:48])
        for answer in answers(*state[:2], question, state[2]):
            s.sendto(answer, peer)
