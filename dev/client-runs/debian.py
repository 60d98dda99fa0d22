"""Clients in languages that Debian packages: Perl, PHP, Ruby, Go, Java. Each program in debian/
reads requests from its standard input and writes responses to its standard output, one per line. A
request is method, URL, headers, body, and the file name of an upload, whose body is the file. A
response is the status in digits, headers, and body. Every field except the status is in Base64; `-`
is an empty text. The requests go through a port that counts connections: a client that reuses its
connection needs only one."""

import base64
import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import urllib.parse

from checks import CA, URL, Steps, client, done

state = pathlib.Path(sys.argv[1])
programs = pathlib.Path(__file__).parent / "debian"


class Counter:
    """A port in front of natter that counts the connections made to it."""

    def __init__(self):
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near = self.listener.accept()[0]
            self.count += 1
            far = socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(URL).port))
            for pair in [(near, far), (far, near)]:
                threading.Thread(target=self.copy, args=pair, daemon=True).start()

    def copy(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def encoded(text):
    if text is None or text == b"":
        return b"-"
    return base64.b64encode(text if isinstance(text, bytes) else text.encode())


def decoded(text):
    return b"" if text == b"-" else base64.b64decode(text)


def driven(command, uploads=True, persistent=True):
    def ask(program, *texts):
        program.stdin.write(b" ".join(map(encoded, texts)) + b"\n")
        program.stdin.flush()
        status, *texts = program.stdout.readline().split()
        heads, answer = map(decoded, texts)
        lines = heads.decode("latin-1").splitlines()
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        return int(status), {name.lower(): it for name, it in fields.items()}, answer

    def use(program, counter):
        def send(method, path, headers, body, name=None):
            fields = "\n".join(f"{field}: {value}" for field, value in headers.items())
            return ask(program, method, counter.url + path, fields, body, name)

        def upload(path, name, content, token):
            headers = {"Authorization": f"Bearer {token}"}
            status, _, answer = send("POST", path, headers, content, name)
            return status, answer

        Steps(send, upload if uploads else None).run()
        assert not persistent or counter.count == 1, f"{counter.count} connections"

    def run():
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, **pipes) as program:
            patience = threading.Timer(60, program.kill)
            patience.start()
            try:
                use(program, Counter())
            except (OSError, ValueError) as error:
                program.kill()
                raise RuntimeError(f"{error}: {program.stderr.read()[-600:]}") from error
            finally:
                patience.cancel()
                program.kill()

    return run


def built():
    """Compiles Go's and Java's programs, and gives Java the certificate as it wants it."""
    go, java, store = state / "go-client", state / "java", state / "ca.p12"
    for command in [
        ["go", "build", "-o", go, programs / "client.go"],
        ["javac", "-d", java, programs / "Client.java"],
        ["keytool", "-importcert", "-noprompt", "-alias", "natter", "-file", CA,
         "-keystore", store, "-storepass", "natter", "-storetype", "PKCS12"],
    ]:
        subprocess.run(command, capture_output=True, check=True)
    return [go], ["java", f"-Djavax.net.ssl.trustStore={store}",
                  "-Djavax.net.ssl.trustStorePassword=natter", "-cp", java, "Client"]


perl, php = ["perl", programs / "perl.pl"], ["php", programs / "php.php"]
client("Perl LWP", driven([*perl, "LWP"]))
client("Perl HTTP::Tiny", driven([*perl, "HTTP::Tiny"], uploads=False))
client("PHP curl", driven([*php, "1.1"]))
client("PHP curl h2", driven([*php, "h2"]))
client("PHP stream", driven([*php, "stream"], uploads=False, persistent=False))
client("Ruby Net::HTTP", driven(["ruby", programs / "ruby.rb"]))
go, java = built()
client("Go net/http", driven([*go, "1.1"]))
client("Go net/http h2", driven([*go, "h2"]))
client("Java java.net.http", driven([*java, "1.1"], uploads=False))
client("Java java.net.http h2", driven([*java, "h2"], uploads=False))
done()
