"""The steps that every client runs, whatever its library, and one line of output per client."""

import json
import os
import ssl
import sys
import time
import uuid

URL = os.environ["CLIENTS_URL"]
CA = os.environ["CLIENTS_CA"]
WORDS = "h\u00e9llo \u4f60\u597d \u0645\u0631\u062d\u0628\u0627 \U0001f469\u200d\U0001f52c \u202e<b>&amp;\r\n\t\\"
NAME = "r\u00e9sum\u00e9 \u4f60\u597d; a=b.txt"

failures = []


def context():
    return ssl.create_default_context(cafile=CA)


class Steps:
    """The steps, over `send(method, path, headers, body) -> (status, headers, body)`; headers of
    answers have names in lower case."""

    def __init__(self, send, upload=None):
        self.send, self.upload, self.token = send, upload, ""

    def ask(self, method, path, body=None, token=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is None:
            token = self.token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        status, fields, answer = self.send(method, path, headers, body)
        return status, fields, json.loads(answer) if answer else None

    def expect(self, expected, *arguments, **named):
        status, fields, answer = self.ask(*arguments, **named)
        assert status == expected, f"{arguments[:2]}: {status} instead of {expected}: {answer}"
        return answer

    def run(self):
        login = {"email": "ada@example.com", "password": "correct horse ada"}
        self.token = self.expect(200, "POST", "/login", login)["access_token"]
        grace = self.expect(200, "GET", "/users?q=grace")["items"][0]["id"]
        message = {"recipient_user_id": grace, "message": WORDS}
        sent = self.expect(201, "POST", "/messages", message)
        assert sent["message"] == WORDS, "other words came back"
        upper = self.expect(200, "GET", f"/messages/{grace.upper()}?limit=1")
        assert upper["items"][0]["id"] == sent["id"]
        if self.upload:
            status, answer = self.upload("/attachments", NAME, b"\0content\r\n--", self.token)
            assert (status, json.loads(answer).get("filename")) == (201, NAME), (status, answer)
        # Refused with a body, then another one over what should be the same connection.
        for size in [10, 60_000, 900_000]:
            body = json.dumps({"message": "x" * size}).encode()
            for expected, path, token, content_type in [
                (401, "/messages", "bad", "application/json"),
                (404, "/nothing", self.token, "application/json"),
                (405, "/login", self.token, "application/json"),
                (415, "/messages", self.token, "text/plain"),
            ]:
                method = "PUT" if expected == 405 else "POST"
                self.expect(expected, method, path, body, token=token, Content_Type=content_type)
                self.expect(200, "GET", "/profile")
        self.expect(413, "POST", "/messages", {**message, "message": "x" * 200_000})
        self.expect(200, "GET", "/profile")
        problem = self.expect(422, "POST", "/groups", {"group_name": "", "members": ["x", 5]})
        fields = [error["field"] for error in problem["errors"]]
        assert fields == ["group_name", "members[0]", "members[1]"], fields
        charset = "application/json; charset=utf8"
        self.expect(201, "POST", "/messages", json.dumps(message).encode(), Content_Type=charset)
        status, fields, _ = self.ask("POST", "/messages", message, Content_Encoding="gzip")
        assert (status, fields.get("accept-encoding")) == (415, "identity"), (status, fields)
        return grace


def client(name, run):
    began = time.monotonic()
    try:
        run()
        outcome = "ok"
    except Exception as error:  # noqa: BLE001: whatever a library raises is a failure of its line
        failures.append(name)
        outcome = f"FAILED: {type(error).__name__}: {error}"
    print(f"{name:32} {time.monotonic() - began:6.2f} s  {outcome}", flush=True)


def done():
    sys.exit(1 if failures else 0)


def key():
    return uuid.uuid4().hex
