# A receiver of one UDP stream that speaks iperf3's protocol and has the kernel stamp what comes. Says on which port it
# listens, then as JSON at which rate and with which gaps it came: pacing.py
import json, socket, struct

STAMPS = 35  # SO_TIMESTAMPNS
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
udp.setsockopt(socket.SOL_SOCKET, STAMPS, 1)
udp.bind(("127.0.0.1", port))
print(port, flush=True)
control, _ = listener.accept()


def frame():
    size, = struct.unpack(">I", control.recv(4, socket.MSG_WAITALL))
    return json.loads(control.recv(size, socket.MSG_WAITALL))


control.recv(37, socket.MSG_WAITALL)
control.send(b"\x09")
params = frame()
control.send(b"\x0a")
_, client = udp.recvfrom(16)
udp.sendto(struct.pack("<I", 0x39383736), client)
control.send(b"\x01\x02")
stamps, numbers, size = [], [], 0
udp.settimeout(0.4)
try:
    while True:
        data, ancillary, _, _ = udp.recvmsg(65536, 64)
        size = len(data)
        seconds, ns = struct.unpack("qq", ancillary[0][2][:16])
        stamps.append(seconds * 10**9 + ns)
        numbers.append(struct.unpack(">Q", data[8:16])[0])
except TimeoutError:
    pass
assert control.recv(1) == b"\x04"
control.send(b"\x0d")
frame()
results = json.dumps({
    "cpu_util_total": 0, "cpu_util_user": 0, "cpu_util_system": 0, "sender_has_retransmits": -1,
    "streams": [{"id": 1, "bytes": size * len(numbers), "retransmits": -1, "jitter": 0, "errors": 0,
                 "packets": len(numbers), "start_time": 0, "end_time": 1}]}).encode()
control.send(struct.pack(">I", len(results)) + results + b"\x0e")
control.recv(1)
gaps = sorted((b - a) / (n - m) for a, b, m, n in zip(stamps, stamps[1:], numbers, numbers[1:]) if n > m)
print(json.dumps({
    "asked_bps": params["bandwidth"],
    "came_bps": (numbers[-1] - numbers[0]) * size * 8e9 / (stamps[-1] - stamps[0]),
    "gap_ns": gaps[len(gaps) // 2],
    "gap_asked_ns": size * 8e9 / params["bandwidth"],
}))
