"""What the tests of transfers share: requests with bodies, tasks, and what disks hold; for the pool in sys.argv[1]."""
import gzip
import http.client
import hashlib
import io
import os
import random
import sys
import tarfile
import time
import urllib.parse
import xmlrpc.client
from poolclient import *
import xva
from xva import PIECE
url = sys.argv[1]
api = Pool(url)
none = "OpaqueRef:NULL"
where = urllib.parse.urlparse(url)
randomness = random.Random(7)
kinds = ["VM", "VDI", "VBD", "VIF", "VM_metrics", "network"]

def connect():
    return http.client.HTTPConnection(where.hostname, where.port, timeout=60)
def path_of(path, session, **words):
    words = {k: v for k, v in words.items() if v is not None}
    if session:
        words["session_id"] = session
    return path + "?" + urllib.parse.urlencode(words)
def put(path, data, session=api.session, **words):
    c = connect()
    try:
        c.request("PUT", path_of(path, session, **words), data)
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        r = c.getresponse()
        r.read()
        return r.status
    except (ConnectionResetError, http.client.RemoteDisconnected):
        return 0
def get(path, session=api.session, **words):
    c = connect()
    c.request("GET", path_of(path, session, **words))
    r = c.getresponse()
    return r.status, r.read()
def given(data, path="/import", **words):
    """How a task ends that an archive was given for: its status and its error, or the refs."""
    task = api("task.create", "t", "")
    put(path, data, task_id=task, **words)
    record = api.wait(task)
    if record["status"] != "success":
        return record["status"], record["error_info"]
    return "success", xmlrpc.client.loads("<params><param>%s</param></params>" % record["result"])[0][0]
def counts():
    return [len(api(k + ".get_all")) for k in kinds]
def content(vm, **words):
    """What its disks hold, in the order of their devices."""
    status, data = get("/export", ref=vm, **words)
    assert status == 200, status
    found = xva.disks(data)
    doc = xva.records(tarfile.open(fileobj=io.BytesIO(data)))
    drives = sorted((o["snapshot"] for o in doc["objects"] if o["class"] == "VBD" and o["snapshot"]["type"] == "Disk"), key=lambda r: r["userdevice"])
    return [digests(found.get(d["VDI"], {})) for d in drives]
def digests(pieces):
    """Disks are rounded up: zeros behind the end are none."""
    return {n: hashlib.sha1(b.rstrip(b"\0")).hexdigest() for n, b in pieces.items() if any(b)}
