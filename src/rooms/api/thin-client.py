#!/usr/bin/python3
"""A client of the thin protocol that shares no code with the server: thin-client.py HOST PORT WORD…

It does what the server's messages say, as the real xe does it, and ends with the status that it is told.
"""
import os
import socket
import struct
import sys

GREETING = b"XenSource thin CLI protocol" + struct.pack("<II", 0, 2)


def connect(host, port, tls):
    s = socket.create_connection((host, port))
    if tls:
        import ssl

        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        s = context.wrap_socket(s)
    return s


class Server:
    def __init__(self, host, port, words, tls=False):
        self.where = host, port, tls
        self.socket = connect(host, port, tls)
        body = "\n".join(words).encode()
        head = f"POST /cli HTTP/1.0\r\nUser-agent: xe-cli/Unix/0.2\r\noriginator: cli\r\ncontent-length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        if self.take(len(GREETING)) != GREETING:
            sys.exit("no greeting")
        self.socket.sendall(GREETING)

    def take(self, count):
        got = b""
        while len(got) < count:
            piece = self.socket.recv(count - len(got))
            if not piece:
                sys.exit("Lost connection to the server.")
            got += piece
        return got

    def message(self):
        data = self.take(struct.unpack("<I", self.take(4))[0])
        kind, tag = struct.unpack_from("<II", data)
        assert kind == 9, kind
        return tag, data[8:]

    def say(self, *numbers):
        data = struct.pack(f"<{len(numbers)}I", *numbers)
        self.socket.sendall(struct.pack("<I", len(data)) + data)


    def transfer(self, put, name, path):
        """A file, over a connection of its own: its bytes go, or come, when the head of the reply is there."""
        if put and not os.path.exists(name):
            return False
        with connect(*self.where) as s:
            length = f"\r\ncontent-length: {os.path.getsize(name)}" if put else ""
            s.sendall(f"{'PUT' if put else 'GET'} {path} HTTP/1.0{length}\r\n\r\n".encode())
            reply = s.makefile("rb")
            good = reply.readline().split()[1:2] == [b"200"]
            while reply.readline() not in (b"\r\n", b""):
                pass
            if good and put:
                with open(name, "rb") as file:
                    s.sendall(file.read())
            elif good:
                try:
                    with open(name, "xb") as file:
                        file.write(reply.read())
                except OSError:
                    return False
        return good


def text(data, at=0):
    count = struct.unpack_from("<I", data, at)[0]
    return data[at + 4 : at + 4 + count].decode(), at + 4 + count


def main():
    words = sys.argv[3:]
    tls = bool(os.environ.get("THIN_TLS"))
    server = Server(sys.argv[1], int(sys.argv[2]), words, tls)
    while True:
        tag, data = server.message()
        if tag == 0:
            print(text(data)[0], flush=True)
        elif tag == 16:
            sys.stderr.write(text(data)[0])
            sys.stderr.flush()
        elif tag == 4:
            sys.exit(struct.unpack("<I", data)[0])
        elif tag == 14:
            code, at = text(data)
            count = struct.unpack_from("<I", data, at)[0]
            params, at = [], at + 4
            for _ in range(count):
                param, at = text(data, at)
                params.append(param)
            sys.stderr.write(f"Error code: {code}\nError parameters: {', '.join(params)}\n")
        elif tag == 3:
            line = sys.stdin.readline().rstrip("\n").encode()
            server.say(11, 7, len(line))
            server.socket.sendall(line)
            server.say(11, 8)
        elif tag == 1:
            try:
                with open(text(data)[0], "rb") as file:
                    content = file.read()
            except OSError:
                server.say(10, 6)
                continue
            server.say(10, 18)
            server.say(10, 5)
            server.say(11, 7, len(content))
            server.socket.sendall(content)
            server.say(11, 8)
        elif tag in (12, 13):
            name, at = text(data)
            server.say(10, 5 if server.transfer(tag == 13, name, text(data, at)[0]) else 6)
        elif tag != 15:
            server.say(10, 6)


main()
