"""A server as one writes it in an afternoon: the records of a pool as dicts, the reply built for each request.

pool-peer.py RECORDS.json: serves VM.get_all_records of these over XML-RPC (any path) and JSON-RPC (/jsonrpc), and
prints its port. One process, HTTP/1.1 with keep-alive, TCP_NODELAY, head and body in one write.
"""
import json
import sys
import xmlrpc.client
from http.server import BaseHTTPRequestHandler, HTTPServer

records = json.load(open(sys.argv[1]))


def as_xapi(value):
    """Integers are text in XML-RPC, as XenServer has them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return {k: as_xapi(v) for k, v in value.items()}
    if isinstance(value, list):
        return [as_xapi(v) for v in value]
    return value


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/jsonrpc":
            call = json.loads(body)
            reply = json.dumps({"result": records, "error": None, "id": call["id"]}).encode()
            kind = "application/json"
        else:
            xmlrpc.client.loads(body)
            value = {"Status": "Success", "Value": as_xapi(records)}
            reply = xmlrpc.client.dumps((value,), methodresponse=True).encode()
            kind = "text/xml"
        head = "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(reply))
        self.wfile.write(head.encode() + reply)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
