"""Signs in for Schemathesis. Operations that end sessions use a new login of another user each time,
so that the run keeps its own token."""

import os

import requests
import schemathesis

URL = os.environ["CONTRACT_URL"]
CERTIFICATE = os.environ["CONTRACT_CERTIFICATE"]

# Not ada: wrong passwords for the e-mail of the document's examples lock that account.
PERSON = ("grace@example.com", "correct horse grace")
EXPENDABLE = ("alan@example.com", "correct horse alan")
ENDS_SESSIONS = {
    ("POST", "/logout"),
    ("DELETE", "/sessions"),
    ("DELETE", "/sessions/{session_id}"),
}
# Wrong passwords lock this one's sign-ins, not the session that is there: one is enough.
GUESSED = ("betty@example.com", "correct horse betty")
ASKS_PASSWORD = {("PUT", "/password"), ("PUT", "/profile"), ("DELETE", "/profile")}


def sign_in(who):
    login = {"email": who[0], "password": who[1]}
    answer = requests.post(f"{URL}/login", json=login, verify=CERTIFICATE, timeout=10)
    answer.raise_for_status()
    return answer.json()["access_token"]


@schemathesis.auth(refresh_interval=1800)
class Token:
    def __init__(self):
        self.guessed = sign_in(GUESSED)

    def get(self, case, context):
        return sign_in(PERSON)

    def set(self, case, data, context):
        operation = (case.operation.method.upper(), case.operation.path)
        token = data
        if operation in ENDS_SESSIONS:
            token = sign_in(EXPENDABLE)
        elif operation in ASKS_PASSWORD:
            token = self.guessed
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}
