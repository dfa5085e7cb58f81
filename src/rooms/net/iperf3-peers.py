#!/usr/bin/env python3
"""Peers of iperf3 that lie, go silent or die, at every step of a test.

    iperf3-peers.py IPERF3 client|server SECONDS

Each case prints its name, the exit status of the client under test (or how the server went on) and its last words. A
case that takes longer than SECONDS counts as hanging and is named so.
"""
import json, os, signal, socket, struct, subprocess, sys, threading, time

program, role, limit = sys.argv[1], sys.argv[2], float(sys.argv[3])
COOKIE = b'k' * 36 + b'\0'
PARAMS = {'tcp': True, 'omit': 0, 'time': 1, 'num': 0, 'blockcount': 0, 'parallel': 1, 'len': 1000, 'client_version': '3.12'}


def stream_result(**more):
    row = {'id': 1, 'bytes': 1000, 'retransmits': 0, 'jitter': 0, 'errors': 0, 'packets': 0, 'start_time': 0, 'end_time': 1}
    row.update(more)
    return row


def results(streams, **more):
    d = {'cpu_util_total': 1, 'cpu_util_user': 1, 'cpu_util_system': 0, 'sender_has_retransmits': 0,
         'congestion_used': 'cubic', 'streams': streams}
    d.update(more)
    return json.dumps(d).encode()


def frame(body):
    return struct.pack('>I', len(body)) + body


def take(c, n):
    got = b''
    while len(got) < n:
        more = c.recv(n - len(got))
        if not more:
            raise EOFError
        got += more
    return got


def take_frame(c):
    return take(c, struct.unpack('>I', take(c, 4))[0])


def state(c):
    return struct.unpack('b', take(c, 1))[0]


class Enough(Exception):
    pass


class Liar:
    """A server that does everything right up to `step`, and then what the case says."""

    def __init__(self, step, act):
        self.step, self.act = step, act
        self.listener = socket.socket()
        self.listener.bind(('127.0.0.1', 0))
        self.listener.listen(8)
        self.listener.settimeout(limit)
        self.port = self.listener.getsockname()[1]
        self.open = []
        self.over = threading.Event()  # it has said its last words
        threading.Thread(target=self.run, daemon=True).start()

    def at(self, step, c):
        if step == self.step:
            self.act(self, c)
            raise Enough

    def accept(self):
        c, _ = self.listener.accept()
        c.settimeout(limit)
        self.open.append(c)
        return c

    def run(self):
        try:
            c = self.control = self.accept()
            self.at('connect', c)
            take(c, 37)
            self.at('cookie', c)
            c.sendall(b'\x09')
            take_frame(c)
            self.at('params', c)
            c.sendall(b'\x0a')
            s = self.stream = self.accept()
            take(s, 37)
            self.at('streams', c)
            c.sendall(b'\x01')
            self.at('start', c)
            c.sendall(b'\x02')
            threading.Thread(target=self.drain, args=(s,), daemon=True).start()
            self.at('running', c)
            while state(c) != 4:
                pass
            self.at('end', c)
            c.sendall(b'\x0d')
            take_frame(c)
            self.at('results', c)
            c.sendall(frame(results([stream_result()])))
            self.at('display', c)
            c.sendall(b'\x0e')
            self.at('done', c)
        except (Enough, EOFError, OSError):
            pass
        self.over.set()

    def drain(self, s):
        try:
            while self.step != 'running' and s.recv(1 << 18):
                pass
        except OSError:
            pass


def close(p, c):
    for s in p.open:
        s.close()


def reset(p, c):
    for s in p.open:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.close()


def say(data):
    return lambda p, c: c.sendall(data)


def shut(p, c):
    p.stream.close()


STEPS = ['connect', 'cookie', 'params', 'streams', 'start', 'running', 'end', 'results', 'display', 'done']
CLIENT = [(step, name, act) for step in STEPS for name, act in
          [('closes', close), ('resets', reset), ('says 0xff', say(b'\xff')), ('says 11', say(b'\x0b')), ('says 77', say(b'\x4d')),
           ('says half an error', say(b'\xfe\0\0'))]]
CLIENT += [('results', name, say(data)) for name, data in [
    ('sends 4 GiB', b'\xff\xff\xff\xff'), ('sends nothing', frame(b'')), ('sends half', struct.pack('>I', 100) + b'{"cpu'),
    ('sends no JSON', frame(b'hello')), ('sends a list', frame(b'[]')), ('sends deep JSON', frame(b'[' * 100000)),
    ('sends no streams', frame(results([]))), ('sends another stream', frame(results([stream_result(id=7)]))),
    ('sends a stream twice', frame(results([stream_result()] * 2))), ('sends words for numbers', frame(results([stream_result(bytes='many')]))),
    ('sends huge numbers', frame(results([stream_result(bytes=1e300, jitter=1e300, errors=2**64 - 1, packets=-1)])) + b'\x0e'),
    ('sends 9,999 streams', frame(results([stream_result(id=i) for i in range(9999)]))),
    ('sends a NUL in JSON', frame(b'{"cpu_util_total\0":1}')),
]]
CLIENT += [('running', 'closes the stream', shut)]


def last_line(text):
    lines = text.strip().split('\n')
    return lines[-1] if lines else ''


def client_case(step, name, act):
    p = Liar(step, act)
    child = subprocess.Popen([program, '-c', '127.0.0.1', '-p', str(p.port), '-t', '1', '-l', '1000', '--connect-timeout', '3000'],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    # Some time after its last words, which may be late, the liar goes, as a process that ends does.
    while child.poll() is None and not p.over.wait(0.1):
        pass
    try:
        child.wait(2.5)
    except subprocess.TimeoutExpired:
        close(p, None)
    try:
        _, err = child.communicate(timeout=limit)
        sys.stdout.write('%s: %s: %d %s\n' % (step, name, child.returncode, last_line(err)))
    except subprocess.TimeoutExpired:
        child.kill()
        sys.stdout.write('%s: %s: hangs\n' % (step, name))
    for s in p.open + [p.listener]:
        s.close()


class Server:
    def __init__(self, *options):
        self.child = subprocess.Popen([program, '-s', '-p', str(free()), '--forceflush', *options],
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.port = None
        for line in self.child.stdout:
            if line.startswith('Server listening on '):
                self.port = int(line.split()[3])
                break
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for _ in self.child.stdout:
            pass


def free():
    with socket.socket(socket.AF_INET6) as s:
        s.bind(('::', 0))
        return s.getsockname()[1]


def liar_at(server, step, act, params):
    """A client that does everything right up to `step`."""
    c = socket.create_connection(('127.0.0.1', server.port), limit)
    c.settimeout(limit)
    streams = []

    def at(now):
        if now == step:
            act(c, streams)
            raise Enough

    def connect(n):
        s = socket.create_connection(('127.0.0.1', server.port), limit)
        s.sendall(COOKIE)
        streams.append(s)

    try:
        at('connect')
        c.sendall(COOKIE)
        while state(c) != 9:
            pass
        at('cookie')
        c.sendall(frame(json.dumps(params).encode()))
        if state(c) != 10:
            raise Enough
        at('params')
        for n in range(params['parallel']):
            connect(n)
        take(c, 2)
        at('streams')
        if not params.get('reverse'):
            streams[0].sendall(b'x' * 5000)
        c.sendall(b'\x04')
        while state(c) != 13:
            pass
        at('end')
        c.sendall(frame(results([stream_result()])))
        take_frame(c)
        at('results')
        state(c)
        at('display')
        c.sendall(b'\x10')
    except (Enough, EOFError, OSError):
        pass
    for s in streams + [c]:
        s.close()


def gone(c, streams):
    for s in streams + [c]:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.close()


def tell(data):
    def act(c, streams):
        c.sendall(data)
        c.settimeout(1)
        while c.recv(1 << 16):
            pass
    return act


SERVER = [(step, name, act, {}) for step in ['connect', 'cookie', 'params', 'streams', 'end', 'results', 'display'] for name, act in
          [('closes', lambda c, s: None), ('resets', gone), ('says 77', tell(b'\x4d' * 300)), ('says 12', tell(b'\x0c'))]]
SERVER += [('end', name, tell(data), {}) for name, data in [
    ('sends 4 GiB', b'\xff\xff\xff\xff'), ('sends no JSON', frame(b'hello')), ('sends deep JSON', frame(b'[' * 100000)),
    ('sends another stream', frame(results([stream_result(id=7)]))),
    ('sends huge numbers', frame(results([stream_result(bytes=1e300, jitter=1e300, errors=2**64 - 1, packets=-1)]))),
    ('sends 9,999 streams', frame(results([stream_result(id=i) for i in range(9999)])))]]
SERVER += [('streams', 'resets while it is sent to', gone, {'reverse': True}),
           ('streams', 'resets while it is sent an amount', gone, {'reverse': True, 'time': 0, 'num': 1 << 40}),
           ('streams', 'ends at once while it is sent to', tell(b'\x04'), {'reverse': True})]


def server_case(server, step, name, act, more):
    liar_at(server, step, act, {**PARAMS, **more})
    # The server must be ready again at once, or as soon as it has seen what happened.
    for _ in range(int(limit * 10)):
        test = subprocess.run([program, '-c', '127.0.0.1', '-p', str(server.port), '-n', '100K'], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=limit)
        if test.returncode == 0 or 'busy' not in test.stderr:
            break
        time.sleep(0.1)
    print('%s: %s: %s' % (step, name, 'serves on' if test.returncode == 0 and server.child.poll() is None else
                          'does not serve: ' + test.stderr.strip()))


def endless_case(server, more, name):
    told = []

    def wait(c, streams):
        if 'send' not in name:
            streams[0].sendall(b'x' * 2000)
        c.settimeout(limit)
        told.extend(struct.unpack('>bii', take(c, 9)))

    liar_at(server, 'streams', wait, {**PARAMS, **more})
    sys.stdout.write('%s: hears %s\n' % (name, told))
    server.child.terminate()
    server.child.wait(limit)


if role == 'client':
    threads = []
    for case in CLIENT:
        threads.append(threading.Thread(target=client_case, args=case))
        threads[-1].start()
        if len(threads) % 25 == 0:
            [t.join() for t in threads]
    [t.join() for t in threads]
else:
    # Clients that know no end: each has a server of its own, which tells them after its time.
    patient = [(Server(), {'time': 0, 'num': 1000}, 'says no more when all has come'),
               (Server('--rcv-timeout', '500'), {'time': 0, 'num': 1 << 40, 'reverse': True}, 'does not read'),
               (Server('--rcv-timeout', '500'), {'time': 0, 'num': 1 << 40}, 'does not send')]
    waits = [threading.Thread(target=endless_case, args=case) for case in patient]
    [w.start() for w in waits]
    server = Server()
    for case in SERVER:
        server_case(server, *case)
    [w.join() for w in waits]
    server.child.send_signal(signal.SIGTERM)
    print('ends with', server.child.wait(limit))
