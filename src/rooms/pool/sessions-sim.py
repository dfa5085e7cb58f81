#!/usr/bin/env python3
"""A day of logins and logouts at a simulated pool, at random, and what became of each session.

    sessions-sim.py PID PORT SOCKET SESSIONS SEED

prints JSON: trackid -> {user, originator, user_agent, via, fate}, where fate is open, logout, restart, or gone (ended by
the pool). It is the pool that is asked, session by session, which of them it still has. Requests go out in bundles over
two connections, one by TCP and one by the socket, for ten thousand of them to take seconds. In the end the pool's process
is told to stop, for nothing to happen there that nobody knows of.
"""
import hashlib
import json
import os
import random
import re
import signal
import socket
import sys
import time
from html import escape

BUNDLE = 40
AGENTS = ["tool/1.0", "xen-api (node)", "Odd from HTTP request from Internet with words", ""]
ORIGINATORS = ["backup", "a b is_local_superuser=true", "cli", "monitor uname=x", "", "leaker", "parent=trackid=0"]


class Link:
    def __init__(self, family, address):
        self.socket = socket.socket(family)
        self.socket.connect(address)
        self.replies = self.socket.makefile("rb", 1 << 16)
        self.out, self.waiting = [], 0

    def ask(self, method, params, agent="sessions-sim"):
        body = "<methodCall><methodName>%s</methodName><params>%s</params></methodCall>" % (
            method, "".join("<param><value>%s</value></param>" % escape(p, quote=False) for p in params))
        agent = f"User-Agent: {agent}\r\n" if agent else ""
        self.out.append(f"POST / HTTP/1.1\r\nHost: pool\r\n{agent}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        self.waiting += 1

    def answers(self):
        self.socket.sendall(b"".join(self.out))
        got = [self.answer() for _ in range(self.waiting)]
        self.out, self.waiting = [], 0
        return got

    def answer(self):
        length = 0
        for line in iter(self.replies.readline, b"\r\n"):
            if not line:
                raise ConnectionError("the pool went away")
            if line.lower().startswith(b"content-length:"):
                length = int(line[15:])
        return self.replies.read(length).decode()


class Day:
    def __init__(self, port, path, seed):
        self.r = random.Random(seed)
        self.places = {"INET": (socket.AF_INET, ("127.0.0.1", port)), "UNIX": (socket.AF_UNIX, path)}
        self.links, self.truth, self.live = {}, {}, []
        self.connect()

    def connect(self):
        """Until the pool is there and answers: it may be starting."""
        for via, place in self.places.items():
            for _ in range(1000):
                try:
                    self.links[via] = Link(*place)
                    self.links[via].ask("session.logout", ["OpaqueRef:none"])
                    if self.links[via].answers()[0]:
                        break
                except OSError:
                    pass
                time.sleep(0.01)

    def log_in(self, count):
        asked = []
        for _ in range(count):
            agent, originator = self.r.choice(AGENTS), self.r.choice(ORIGINATORS)
            via = "INET" if self.r.random() < 0.8 else "UNIX"
            password = "wrong" if via == "INET" and self.r.random() < 0.02 else "xenkit"
            self.links[via].ask("session.login_with_password", ["root", password, "1.0", originator], agent)
            asked.append((via, agent, originator))
        answers = {via: iter(link.answers()) for via, link in self.links.items()}
        for via, agent, originator in asked:
            ref = re.search("OpaqueRef:[0-9a-f-]+", next(answers[via]))
            if ref:
                session = {"user": "root", "originator": originator, "user_agent": agent or "unknown", "via": via, "fate": None}
                self.truth[hashlib.md5(ref.group().encode()).hexdigest()] = session
                self.live.append((ref.group(), session))

    def log_out(self, count):
        link = self.links["INET"]
        ended = []
        for _ in range(min(count, len(self.live))):
            at = self.r.randrange(len(self.live))
            if self.live[at][1]["originator"] == "leaker" and self.r.random() < 0.9:
                continue
            self.live[at], self.live[-1] = self.live[-1], self.live[at]
            ended.append(self.live.pop())
            link.ask("session.logout", [ended[-1][0]])
        for (_, session), answer in zip(ended, link.answers()):
            session["fate"] = "logout" if "Success" in answer else "gone"

    def look(self, fate):
        """Of those that are left the pool says which it still has, when its collector has passed several times and finds
        nothing more to do. Those get the fate, the others are gone."""
        time.sleep(0.2)
        for begin in range(0, len(self.live), BUNDLE):
            some = self.live[begin:begin + BUNDLE]
            for ref, _ in some:
                self.links["INET"].ask("session.get_this_user", [ref, ref])
            for (_, session), answer in zip(some, self.links["INET"].answers()):
                session["fate"] = "gone" if "SESSION_INVALID" in answer else fate

    def restart(self):
        self.log_in(1)
        ref = self.live[-1][0]
        self.look("restart")
        link = self.links["INET"]
        link.ask("session.get_this_host", [ref, ref])
        host = re.search("OpaqueRef:[0-9a-f-]+", link.answers()[0]).group()
        link.ask("host.restart_agent", [ref, host])
        link.answers()
        try:
            while True:  # until it goes away
                link.ask("session.logout", ["OpaqueRef:none"])
                link.answers()
        except OSError:
            self.connect()
        self.live = []


def main():
    pid, port, path, sessions, seed = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
    day = Day(port, path, seed)
    restart_at = day.r.randrange(sessions)
    while len(day.truth) < sessions:
        day.log_in(day.r.randrange(1, BUNDLE))
        day.log_out(day.r.randrange(1, BUNDLE))
        if restart_at is not None and len(day.truth) > restart_at:
            day.restart()
            restart_at = None
    day.look("open")
    os.kill(pid, signal.SIGTERM)
    json.dump(day.truth, sys.stdout)


main()
