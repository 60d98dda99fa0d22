"""Initiates a replica set of one member on a local mongod, and waits until the member is primary.

Usage: replset.py PORT PID. The script speaks OP_MSG itself, because a fresh machine has neither
mongosh nor pymongo.
"""

import os
import signal
import socket
import struct
import sys
import time

OP_MSG = 2013


def encode(document):
    """Writes a BSON document of strings, ints, bools, documents and lists."""
    body = b""
    for name, value in document.items():
        key = name.encode() + b"\0"
        if isinstance(value, bool):
            body += b"\x08" + key + bytes([value])
        elif isinstance(value, int):
            body += b"\x10" + key + struct.pack("<i", value)
        elif isinstance(value, str):
            text = value.encode() + b"\0"
            body += b"\x02" + key + struct.pack("<i", len(text)) + text
        elif isinstance(value, list):
            body += b"\x04" + key + encode({str(i): v for i, v in enumerate(value)})
        else:
            body += b"\x03" + key + encode(value)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def decode(data):
    """Reads the fields of a BSON document that are needed here; the others are None."""
    document, at = {}, 4
    while kind := data[at]:
        end = data.index(b"\0", at)
        name, at = data[at + 1 : end].decode(), end + 1
        (number,) = struct.unpack_from("<i", data.ljust(at + 4, b"\0"), at)
        if kind == 0x02:
            document[name], at = data[at + 4 : at + 3 + number].decode(), at + 4 + number
        elif kind in (0x03, 0x04):
            document[name], at = decode(data[at : at + number]), at + number
        elif kind == 0x08:
            document[name], at = bool(data[at]), at + 1
        elif kind == 0x10:
            document[name], at = number, at + 4
        elif kind == 0x01:
            document[name], at = struct.unpack_from("<d", data, at)[0], at + 8
        else:  # binary carries its length and a subtype; null, ObjectId; dates, timestamps, longs
            size = number + 5 if kind == 0x05 else {0x0A: 0, 0x07: 12}.get(kind, 8)
            document[name], at = None, at + size
    return document


def command(port, document):
    """Runs one command on the database `admin` and returns its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        body = bytes(5) + encode({**document, "$db": "admin"})
        connection.sendall(struct.pack("<4i", len(body) + 16, 1, 0, OP_MSG) + body)
        stream = connection.makefile("rb")
        (length,) = struct.unpack("<i", stream.read(4))
        return decode(stream.read(length - 4)[17:])


def settle(port):
    """Takes the next step towards a primary; returns whether there is one at this very port."""
    hello, here = command(port, {"hello": 1}), f"127.0.0.1:{port}"
    if hello.get("me") == here:
        return hello["isWritablePrimary"]
    config = {"_id": "rs0", "members": [{"_id": 0, "host": here}]}
    known = command(port, {"replSetGetConfig": 1}).get("config")
    if not known:
        command(port, {"replSetInitiate": config})
    elif known["members"]["0"]["host"] != here:  # Its data comes from a run on another port.
        config["version"] = known["version"] + 1
        command(port, {"replSetReconfig": config, "force": True})
    return False


def main():
    """Waits for the primary as long as the process lives, a minute at most."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    port, pid = int(sys.argv[1]), int(sys.argv[2])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if settle(port):
                return
        except ProcessLookupError:
            sys.exit(1)
        except OSError:
            pass  # It does not listen yet.
        time.sleep(0.05)
    sys.exit(f"no primary on port {port} within a minute")


if __name__ == "__main__":
    main()
