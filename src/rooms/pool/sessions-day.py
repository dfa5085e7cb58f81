#!/usr/bin/env python3
"""A day of a pool's sessions as XAPI of a given release would have logged it, and what truly became of each.

    sessions-day.py ERA SEED SESSIONS DIR

writes pieces of a log below DIR/log in no order, some compressed, and DIR/truth.json. It knows nothing of the analyzer:
lines are put together from the facts about each release, the truth from what happened.
"""
import gzip
import hashlib
import heapq
import json
import os
import random
import sys
import time

ERAS = ["6.0", "6.1", "6.2", "6.5", "7", "8", "8.3"]
NULL = hashlib.md5(b"OpaqueRef:NULL").hexdigest()
HOST = "xen-one"
DAY = 86400


class Day:
    def __init__(self, era, seed, sessions):
        self.era, self.age = era, ERAS.index(era)
        self.r = random.Random(f"{era}/{seed}")
        self.wanted = sessions
        # Across New Year, at night: the stamps of most releases do not say so.
        self.start = time.mktime((2024, 12, 31, 9, 0, 0, 0, 0, 0)) - time.timezone
        self.lines, self.open, self.truth, self.restarts, self.unseen = [], {}, {}, 0, []
        self.queue, self.count = [], 0
        self.thread = 100
        self.members, self.next_age = {}, 0

    # ---- lines ----

    def header(self, at, level, thread, task, brand):
        ms = int(at * 1000) % 1000
        if self.age == 0:
            stamp = time.strftime("%Y%m%dT%H:%M:%S", time.gmtime(at)) + ".%03dZ|" % ms
            return f"[{stamp}{level:>5}|{HOST}|{thread}|{task}|{brand}] "
        t = time.gmtime(at)
        prefix = time.strftime("%b ", t) + f"{t.tm_mday:2d}" + time.strftime(" %H:%M:%S ", t) + HOST + " xapi: "
        host = "" if self.age >= 6 else HOST
        return f"{prefix}[{level:>5}|{host}|{thread}|{task}|{brand}] "

    def log(self, at, text, brand="xapi", level=" info", thread="0 ", task=""):
        self.lines.append((at, self.header(at, level.strip(), thread, task, brand) + text))

    def task(self, name):
        return f"{name} D:{self.r.getrandbits(48):012x}"

    def thread_of(self, via):
        self.thread += 1
        if via == "UNIX":
            return f"{self.thread} UNIX /var/lib/xcp/xapi"
        if via == "INTERNAL":
            return self.r.choice([f"{self.thread} ", "", f"{self.thread}"])
        if self.age >= 6 and self.r.random() < 0.5:
            return f"{self.thread} HTTPS 10.0.0.{self.r.randrange(2, 250)}->:::80"
        return f"{self.thread} INET " + ("0.0.0.0:80" if self.age < 4 else ":::80")

    def session_brand(self):
        return "xapi_session" if self.age >= 5 else "xapi"

    def gc_brand(self):
        return "db_gc_util" if self.age >= 4 else "db_gc"

    def noise(self, at):
        words = [
            "VM.set_name_label: name = 'x] Session.create trackid=%s pool=false uname=root'" % self.new_id(),
            "Session.destroyed nothing",
            "creating Session.destroy trackid=%s" % self.new_id(),
            "(info) Session.create trackid=%s pool=true uname= is_local_superuser=true" % self.new_id(),
            "session_log: active_sessions=12 (3 p, 4 a, 5 n - 2 g groups)",
            "Got one HTTP request",
            "name '(Re)starting xapi...' |xapi] (Re)starting xapi...",
            "dispatch: Session.create",
        ]
        if self.age >= 6:
            words.append("Skipping Session.destroy for reusable pool session trackid=%s" % self.new_id())
        kind = self.r.random()
        if kind < 0.85:
            self.log(at, self.r.choice(words), brand=self.r.choice(["xapi", "http", "audit", "dispatcher", "taskhelper"]),
                     level=self.r.choice(["debug", "info", "warn", "error"]), thread=self.thread_of("INET"),
                     task=self.task("dispatch:VM.get_all"))
        elif kind < 0.9:  # cut before the trackid is whole
            line = self.header(at, "info", "12 ", "", self.session_brand()) + "Session.create trackid=" + self.new_id()
            self.lines.append((at, line[: -self.r.randrange(1, 20)]))
        elif kind < 0.94 and self.age:  # another program's words
            other = self.header(at, "info", "12 ", "", "xapi").replace(" xapi: ", " xenopsd-xc: ")
            self.lines.append((at, other + self.r.choice(["(Re)starting xapi...", "Session.create trackid=" + self.new_id() +
                                                         " pool=false uname=root is_local_superuser=true"])))
        elif kind < 0.96:
            self.lines.append((at, bytes(self.r.choice([1, 7, 27, 128, 200, 255]) for _ in range(40))))
        elif kind < 0.995:
            self.lines.append((at, b"\0" * self.r.randrange(1, 600)))  # what follows stands on the same line
            self.lines[-1] = (at, self.lines[-1][1] + self.header(at, "info", "1 ", "", "xapi").encode() + b"Got one")
        else:
            self.lines.append((at, self.header(at, "info", "1 ", "", "x" * self.r.choice([3000, 70000])) + "long"))

    def new_id(self):
        return hashlib.md5(("OpaqueRef:%032x" % self.r.getrandbits(128)).encode()).hexdigest()

    # ---- what happens ----

    def enter(self, trackid, session):
        self.open[trackid] = session
        group = self.group_of(session["client"])
        self.members[group] = self.members.get(group, 0) + 1

    def leave(self, trackid):
        session = self.open.pop(trackid)
        self.members[self.group_of(session["client"])] -= 1
        return session

    def login(self, at, client):
        ref = "OpaqueRef:%032x" % self.r.getrandbits(128)
        trackid = hashlib.md5(ref.encode()).hexdigest()
        task, thread = self.task("session.login_with_password"), self.thread_of(client["via"])
        user, originator = client["user"], client["originator"] if self.age >= 2 else ""
        agent = client["agent"]
        if client["via"] != "INTERNAL" and self.r.random() < 0.97:
            source = "Unix domain socket" if client["via"] == "UNIX" else "Internet"
            origin = f"HTTP request from {source} with User-Agent: {agent}"
            text = "Success: local auth, " if self.age >= 3 else "Successful local authentication "
            self.log(at, f"{text}user {user} from {origin}", brand=self.session_brand(), thread=thread, task=task)
        else:
            agent = None
        if self.r.random() < 0.3:
            self.noise(at)
        field = f"originator={originator} " if self.age >= 2 else ""
        parent = client.get("parent", NULL)
        text = (f"Session.create trackid={trackid} pool={'true' if client['pool'] else 'false'} uname={user} {field}"
                f"is_local_superuser=true auth_user_sid= parent=trackid={parent}")
        if self.age and self.r.random() < 0.02:
            self.log(at, text, brand=self.session_brand(), thread=thread, task=task)
            line = self.lines[-1][1]
            cut = line.index("xapi: ") + 6
            self.lines.append((at, line[:cut] + f"message repeated {self.r.randrange(2, 9)} times: [ " + line[cut:] + "]"))
        else:
            self.log(at, text, brand=self.session_brand(), thread=thread, task=task)
        self.enter(trackid, {"ref": ref, "active": at, "client": client})
        self.truth[trackid] = {"user": user, "originator": originator, "via": client["via"], "user_agent": agent,
                               "pool": client["pool"], "fate": "open", "created": self.iso(at)}
        self.count += 1
        return trackid

    @staticmethod
    def iso(at):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))

    def logout(self, at, trackid):
        if trackid not in self.open:
            return
        client = self.leave(trackid)["client"]
        self.log(at, f"Session.destroy trackid={trackid}", brand=self.session_brand(),
                 thread=self.thread_of(client["via"]), task=self.task("session.logout"))
        self.truth[trackid]["fate"] = "logout"

    def collect(self, at, trackid, group, reason, fate):
        s = self.leave(trackid)
        task = self.task("DB GC")
        uuid = "%08x-0000-4000-8000-%012x" % (self.r.getrandbits(32), self.r.getrandbits(48))
        ingroup = f"in group '{group}' " if self.age >= 3 else ""
        active = time.strftime("%Y%m%dT%H:%M:%SZ", time.gmtime(s["active"]))
        self.log(at, f"Session.destroy _ref={s['ref']} uuid={uuid} trackid={trackid} (last active {active}): "
                 f"Timed out session {ingroup}because {reason}", brand=self.gc_brand(), task=task)
        if self.r.random() < 0.2:
            self.noise(at)
        self.log(at, f"Session.destroy trackid={trackid}", brand=self.session_brand(), task=task)
        if trackid in self.truth:
            self.truth[trackid]["fate"] = fate
        else:
            self.unseen.append(trackid)

    def group_of(self, client):
        if client["pool"]:
            return "internal"
        if client["originator"] and self.age >= 2:
            return "originator:" + client["originator"]
        if client["user"] not in ("", "root"):
            return "username:" + client["user"]
        return "external"

    def limit_of(self, group):
        return 400 if group in ("internal", "external") else 50 if self.age < 3 else 500

    def gc(self, at):
        if at < self.next_age and all(n <= self.limit_of(g) for g, n in self.members.items()):
            return
        self.next_age = at + 600
        groups = {}
        for trackid, s in self.open.items():
            groups.setdefault(self.group_of(s["client"]), []).append((s["active"], trackid))
        for group, members in groups.items():
            members.sort()
            while members and at - members[0][0] > DAY:
                self.collect(at, members.pop(0)[1], group, "of its age", "gc-age")
            limit = self.limit_of(group)
            if len(members) > limit:
                ingroup = f"in group '{group}' " if self.age >= 3 else ""
                self.log(at, f"Number of disposable sessions {ingroup}in database ({len(members)}/{len(self.open)}) "
                         f"exceeds limit ({limit}): will delete the oldest", brand=self.gc_brand())
                for _, trackid in members[: len(members) - limit]:
                    self.collect(at, trackid, group, "max number of sessions was exceeded", "gc-limit")

    def restart(self, at):
        self.restarts += 1
        pid = f", pid: {self.r.randrange(1000, 30000)}" if self.age >= 4 else "..."
        self.log(at, "(Re)starting xapi" + pid)
        for trackid in self.open:
            if trackid in self.truth:
                self.truth[trackid]["fate"] = "restart"
        self.open.clear()
        self.members.clear()

    def run(self):
        clients = [
            dict(user="root", originator="XenCenter", agent="XenAPI/8.2 XenCenter, .NET", via="INET", pool=False, keep=0.02),
            dict(user="root", originator="", agent="Python-urllib/2.7", via="INET", pool=False, keep=0.5),
            dict(user="bob smith", originator="xo-server", agent="node-xen-api", via="INET", pool=False, keep=0.1),
            dict(user="EXAMPLE\\eve pool=true", originator="a is_local_superuser=false auth_user_sid= b", agent="x with y",
                 via="INET", pool=False, keep=0.1),
            dict(user="mal uname=root from HTTP request from nowhere", originator="xe from HTTP request from Internet",
                 agent="UA from HTTP request from Internet with care", via="INET", pool=False, keep=0.05),
            dict(user="", originator="", agent="", via="INTERNAL", pool=True, keep=0.01),
            dict(user="root", originator="cli", agent="xe-cli/Unix/0.2", via="UNIX", pool=False, keep=0.0),
            dict(user="jürgen", originator="leaker", agent="leaky/1.0", via="INET", pool=False, keep=0.9),
        ]
        if self.age >= 2:
            clients.append(dict(user="u originator=fake", originator="true one", agent="z", via="INET", pool=False, keep=0.1))
        # Sessions from before the log.
        for _ in range(20):
            ref = "OpaqueRef:%032x" % self.r.getrandbits(128)
            trackid = hashlib.md5(ref.encode()).hexdigest()
            self.enter(trackid, {"ref": ref, "active": self.start - self.r.randrange(60, DAY), "client": clients[1]})
        span = 1.2 * DAY
        restarts = sorted(self.start + self.r.random() * span for _ in range(self.r.randrange(0, 3)))
        for at in restarts:
            heapq.heappush(self.queue, (at, 0, "restart", None))
        for _ in range(self.wanted):
            heapq.heappush(self.queue, (self.start + self.r.random() * span, self.r.random(), "login", None))
        for _ in range(self.wanted):
            heapq.heappush(self.queue, (self.start + self.r.random() * span, self.r.random(), "noise", None))
        at = self.start
        while at < self.start + span:
            heapq.heappush(self.queue, (at, 0, "gc", None))
            at += 30
        while self.queue:
            at, _, what, arg = heapq.heappop(self.queue)
            if what == "restart":
                self.restart(at)
            elif what == "noise":
                self.noise(at)
            elif what == "gc":
                self.gc(at)
            elif what == "login":
                client = dict(self.r.choice(clients))
                if self.r.random() < 0.1 and self.open:
                    client["parent"] = self.r.choice(list(self.open))
                trackid = self.login(at, client)
                if self.r.random() >= client["keep"]:
                    heapq.heappush(self.queue, (at + self.r.expovariate(1 / 120), self.r.random(), "logout", trackid))
                for _ in range(self.r.randrange(3)):
                    heapq.heappush(self.queue, (at + self.r.random() * 3600, self.r.random(), "use", trackid))
            elif what == "use" and arg in self.open:
                self.open[arg]["active"] = max(self.open[arg]["active"], at)
            elif what == "logout":
                self.logout(at, arg)

    def write(self, to):
        os.makedirs(os.path.join(to, "log", "deep"), exist_ok=True)
        pieces = self.r.randrange(1, 9)
        edges = sorted(self.r.randrange(len(self.lines)) for _ in range(pieces - 1))
        names = list(range(pieces))
        self.r.shuffle(names)
        begin = 0
        for i, end in enumerate(edges + [len(self.lines)]):
            body = b"\n".join(t if isinstance(t, bytes) else t.encode() for _, t in self.lines[begin:end])
            body += b"\n" if body else b""
            if i + 1 == pieces:
                body += self.header(self.lines[-1][0], "info", "1 ", "", self.session_brand()).encode() + b"Session.crea"
            packed = self.r.random() < 0.4
            folder = os.path.join(to, "log", "deep") if self.r.random() < 0.3 else os.path.join(to, "log")
            with open(os.path.join(folder, f"piece.{names[i]}" + (".gz" if packed else "")), "wb") as f:
                f.write(gzip.compress(body, 1) if packed else body)
            begin = end
        with open(os.path.join(to, "truth.json"), "w", encoding="utf-8") as f:
            json.dump({"sessions": self.truth, "destroyed_unseen": sorted(self.unseen), "restarts": self.restarts}, f)


def main():
    era, seed, sessions, to = sys.argv[1:]
    day = Day(era, seed, int(sessions))
    day.run()
    day.write(to)


main()
