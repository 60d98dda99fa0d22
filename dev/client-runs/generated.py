"""A client that openapi-python-client generates from the OpenAPI document: it has every operation,
responses and errors have types, and it works."""

import importlib
import json
import pathlib
import pkgutil
import subprocess
import sys

from checks import URL, WORDS, client, context, done

state = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(state))


def generate():
    made = subprocess.run(
        ["openapi-python-client", "generate", "--path", state / "openapi.json", "--meta", "none",
         "--output-path", state / "made"],
        capture_output=True, text=True, check=True,
    )
    said = made.stdout + made.stderr
    assert "WARNING" not in said, said[:2000]
    import made as package

    names = [module.name for module in pkgutil.walk_packages(package.__path__, "made.")]
    for name in names:
        importlib.import_module(name)
    document = json.loads((state / "openapi.json").read_text())
    operations = sum(len(path) for path in document["paths"].values())
    calls = [name for name in names if name.startswith("made.api.") and name.count(".") == 3]
    assert len(calls) == operations, f"{len(calls)} of {operations} operations"


def use():
    from made import AuthenticatedClient, Client
    from made.api.accounts import log_in
    from made.api.groups import create_group
    from made.api.messages import history_with_user, send_message
    from made.api.users import search_users
    from made.models import CreateGroupBody, LogInBody, Message, Problem, SendMessageJsonBody

    body = LogInBody(email="ada@example.com", password="correct horse ada")
    pair = log_in.sync(client=Client(URL, verify_ssl=context()), body=body)
    ada = AuthenticatedClient(URL, token=pair.access_token, verify_ssl=context())
    grace = search_users.sync(client=ada, q="grace").items[0].id
    sent = send_message.sync(
        client=ada, body=SendMessageJsonBody(recipient_user_id=grace, message=WORDS)
    )
    assert isinstance(sent, Message) and sent.message == WORDS, sent
    page = history_with_user.sync(grace, client=ada, limit=1)
    assert page.items[0].id == sent.id
    refused = create_group.sync(client=ada, body=CreateGroupBody(group_name="", members=[]))
    assert isinstance(refused, Problem) and refused.code == "validation_failed", refused


client("openapi-python-client: generate", generate)
client("openapi-python-client: use", use)
done()
