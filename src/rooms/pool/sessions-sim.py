#!/usr/bin/env python3
"""Log in to and out of a simulated pool at random, and say what became of each session.

    sessions-sim.py URL PASSWORD SESSIONS SEED

prints JSON: trackid → {user, originator, user_agent, fate}, where fate is open, logout, or gone (ended by the pool).
"""
import hashlib
import json
import random
import sys
import time
import xmlrpc.client

url, password, sessions, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
r = random.Random(seed)


class Transport(xmlrpc.client.Transport):
    def __init__(self, agent):
        super().__init__()
        self.user_agent = agent


agents = ["tool/1.0", "xen-api (node)", "Odd from HTTP request from Internet with words"]
servers = {a: xmlrpc.client.ServerProxy(url, transport=Transport(a)) for a in agents}
truth, live = {}, []
for _ in range(sessions):
    agent, originator = r.choice(agents), r.choice(["backup", "a b is_local_superuser=true", "cli", "monitor uname=x"])
    reply = servers[agent].session.login_with_password("root", password, "1.0", originator)
    ref = reply["Value"]
    truth[hashlib.md5(ref.encode()).hexdigest()] = {"user": "root", "originator": originator, "user_agent": agent, "ref": ref}
    live.append((agent, ref))
    while live and r.random() < 0.45:
        agent, ref = live.pop(r.randrange(len(live)))
        reply = servers[agent].session.logout(ref)
        fate = "logout" if reply["Status"] == "Success" else "gone"
        truth[hashlib.md5(ref.encode()).hexdigest()]["fate"] = fate
time.sleep(1)  # several passes of the collector: from here on it finds nothing more to do
for s in truth.values():
    if "fate" not in s:
        reply = servers[s["user_agent"]].session.get_this_user(s["ref"], s["ref"])
        s["fate"] = "gone" if reply.get("ErrorDescription", [""])[0] == "SESSION_INVALID" else "open"
    del s["ref"]
json.dump(truth, sys.stdout)
