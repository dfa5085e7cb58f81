"""Archives of machines, made and read with Python's tarfile alone."""
import hashlib
import io
import tarfile
import xmlrpc.client

from xxh64 import xxh64

PIECE = 1 << 20


def records(archive):
    text = archive.extractfile("ova.xml").read().decode()
    return xmlrpc.client.loads("<params><param>%s</param></params>" % text)[0][0]


def value(v):
    """As XenAPI writes values: numbers are texts."""
    if isinstance(v, bool) or isinstance(v, xmlrpc.client.DateTime):
        return v
    if isinstance(v, dict):
        return {k: value(w) for k, w in v.items()}
    return [value(w) for w in v] if isinstance(v, (list, tuple)) else str(v)


def ova(content):
    text = xmlrpc.client.dumps((value(content),), allow_none=False)
    return text[text.index("<value>"):text.rindex("</value>") + len("</value>")].encode()


class Archive:
    """One that grows member by member."""

    def __init__(self, form=tarfile.USTAR_FORMAT):
        self.file = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.file, mode="w", format=form)

    def add(self, name, data):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def disk(self, name, content, kind="xxhash"):
        """Pieces {number: bytes} with their sums; kind None: without."""
        for number in sorted(content):
            piece = content[number]
            self.add("%s/%08d" % (name, number), piece)
            if kind:
                text = xxh64(piece) if kind == "xxhash" else hashlib.sha1(piece).hexdigest()
                self.add("%s/%08d.%s" % (name, number, kind), text.encode())
        return self

    def bytes(self):
        self.tar.close()
        return self.file.getvalue()


def disks(data):
    """The pieces of each disk of an archive, after their sums were looked at."""
    archive = tarfile.open(fileobj=io.BytesIO(data))
    found = {}
    for name in archive.getnames():
        if "/" not in name or "." in name:
            continue
        piece = archive.extractfile(name).read()
        if name + ".xxhash" in archive.getnames():
            assert archive.extractfile(name + ".xxhash").read().decode() == xxh64(piece), name
        else:
            assert archive.extractfile(name + ".checksum").read().decode() == hashlib.sha1(piece).hexdigest(), name
        disk, number = name.split("/")
        if any(piece):
            found.setdefault(disk, {})[int(number)] = piece
    return found
