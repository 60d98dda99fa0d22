"""Command-line clients: curl over HTTP/1.1 and h2, wget, HTTPie. Each request is a separate
process; curl also sends two requests over one connection."""

import json
import os
import pathlib
import subprocess
import tempfile

from checks import CA, URL, Steps, client, done

state = pathlib.Path(tempfile.mkdtemp(prefix="natter-cli."))


def run_of(*arguments, check=True):
    ended = subprocess.run(arguments, capture_output=True, timeout=60, check=False)
    if check and ended.returncode:
        raise RuntimeError(f"{arguments[0]} ended with {ended.returncode}: {ended.stderr[-300:]}")
    return ended


def head_and_body(text):
    """The last head of a text of heads, and what follows."""
    head, _, body = text.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    return int(first.split(" ")[1]), {name.lower(): it for name, it in fields.items()}, body


def curl(version):
    options = ["curl", "-sS", "-i", version, "--cacert", CA, "--noproxy", "*"]

    def send(method, path, headers, body):
        arguments = [*options, "-X", method, URL + path]
        for name, value in headers.items():
            arguments += ["-H", f"{name}: {value}"]
        if body is not None:
            file = state / "body"
            file.write_bytes(body)
            arguments += ["--data-binary", f"@{file}"]
        return head_and_body(run_of(*arguments).stdout)

    def upload(path, name, content, token):
        file = state / "upload"
        file.write_bytes(content)
        part = f'file=@{file};filename="{name}"'
        head = f"Authorization: Bearer {token}"
        status, _, body = head_and_body(run_of(*options, "-H", head, "-F", part, URL + path).stdout)
        return status, body

    def run():
        steps = Steps(send, upload)
        steps.run()
        # Refused and served over one connection.
        file = state / "body"
        file.write_text(json.dumps({"message": "x" * 3_000}))
        good = ["-H", f"Authorization: Bearer {steps.token}"]
        bad = ["-H", "Authorization: Bearer x", "-H", "Content-Type: application/json"]
        counted = ["-w", "%{http_code} %{num_connects}\n", "-o", os.devnull, "-s"]
        secure = [version, "--cacert", CA, "--noproxy", "*"]
        ended = run_of(
            "curl", *secure, *counted, *bad, "--data-binary", f"@{file}", URL + "/messages",
            "--next", *secure, *counted, *good, URL + "/profile",
        )
        assert ended.stdout.split() == [b"401", b"1", b"200", b"0"], ended.stdout

    return run


def wget():
    def send(method, path, headers, body):
        arguments = ["wget", "-q", "-O", "-", "-S", "--content-on-error", "--no-proxy"]
        arguments += ["--ca-certificate", CA, "--method", method, "--tries=1"]
        arguments += [f"--header={name}: {value}" for name, value in headers.items()]
        if body is not None:
            file = state / "body"
            file.write_bytes(body)
            arguments.append(f"--body-file={file}")
        ended = run_of(*arguments, URL + path, check=False)
        lines = [line.strip() for line in ended.stderr.decode().splitlines()]
        first = max(at for at, line in enumerate(lines) if line.startswith("HTTP/"))
        fields = dict(line.split(": ", 1) for line in lines[first + 1 :] if ": " in line)
        fields = {name.lower(): it for name, it in fields.items()}
        return int(lines[first].split(" ")[1]), fields, ended.stdout

    Steps(send).run()


def httpie():
    def send(method, path, headers, body):
        arguments = ["http", "--ignore-stdin", "--verify", CA, "--print=hb", "--pretty=none"]
        pairs = [f"{name}:{value}" for name, value in headers.items()]
        if body is not None:
            file = state / "body"
            file.write_bytes(body)
            pairs.append(f"@{file}")
        ended = run_of(*arguments, method, URL + path, *pairs)
        return head_and_body(ended.stdout)

    Steps(send).run()


client("curl HTTP/1.1", curl("--http1.1"))
client("curl h2", curl("--http2"))
client("wget", wget)
client("HTTPie", httpie)
done()
