"""A small client of a pool for the command tests: calls by JSON-RPC, tasks, and TAP lines."""
import contextlib
import http.client
import json
import ssl
import sys
import time
import urllib.parse

import references

pools = set()


class Pool:
    def __init__(self, url, user="root", password="xenkit"):
        where = urllib.parse.urlparse(url)
        if where.scheme == "https":
            self.http = http.client.HTTPSConnection(where.hostname, where.port, timeout=60, context=ssl._create_unverified_context())
        else:
            self.http = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
        self.session = self.ask("session.login_with_password", user, password, "1.0", "test")
        pools.add(url)

    def post(self, method, params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self.http.request("POST", "/jsonrpc", body, {"Content-Type": "application/json"})
        return json.loads(self.http.getresponse().read())

    def ask(self, method, *params):
        """The result; a failure ends the test."""
        reply = self.post(method, params)
        if "error" in reply:
            raise AssertionError("%s: %s" % (method, [reply["error"]["message"]] + reply["error"]["data"]))
        return reply["result"]

    def __call__(self, method, *params):
        return self.ask(method, self.session, *params)

    def error(self, method, *params):
        """The error's words; None when it succeeds."""
        reply = self.post(method, (self.session,) + params)
        return [reply["error"]["message"]] + reply["error"]["data"] if "error" in reply else None

    def wait(self, task):
        """The record of a task once it is over."""
        while True:
            record = self("task.get_record", task)
            if record["status"] not in ("pending", "cancelling"):
                return record
            time.sleep(0.05)

    def until(self, condition):
        """Until it holds; after a minute the test ends."""
        for _ in range(1200):
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError("it never came")

    @contextlib.contextmanager
    def held(self, method):
        """Inside, work of that message does not get on: what can be seen while it goes on is seen at leisure."""
        master = self("host.get_all")[0]
        fault = self("host.call_plugin", master, "xenkit", "fault", {"fault": "task=stuck,method=" + method})
        yield
        self("host.call_plugin", master, "xenkit", "heal", {"id": fault})

    def get(self, kind, ref, field):
        return self("%s.get_%s" % (kind, field), ref)


count = 0


def ok(what, good, *why):
    global count
    count += 1
    print("%s %d - %s" % ("ok" if good else "not ok", count, what))
    if not good:
        print("# %s" % " ".join(map(repr, why)))
    sys.stdout.flush()


def same(what, got, wanted):
    ok(what, got == wanted, got, "instead of", wanted)


def hangs_together(pool):
    """Refs lead somewhere, relations have both ends, a machine has what its state says."""
    same("the pool's records hang together", references.wrong(pool), [])


def done():
    """The end of all statements, and what always holds."""
    for url in sorted(pools):
        try:
            pool = Pool(url)
        except (AssertionError, OSError):
            continue  # it is no pool's master any more
        hangs_together(pool)
    print("1..%d" % count)
