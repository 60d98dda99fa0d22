"""Python's clients: http.client, urllib3, requests, httpx over HTTP/1.1 and h2, aiohttp, websockets."""

import asyncio
import http.client
import json
import urllib.parse

import aiohttp
import httpx
import requests
import urllib3
import websockets
from checks import CA, URL, WORDS, Steps, client, context, done, key

PORT = urllib.parse.urlsplit(URL).port


def lower(headers):
    return {name.lower(): value for name, value in headers.items()}


def standard_library(version):
    def run():
        connection = http.client.HTTPSConnection("localhost", PORT, context=context(), timeout=30)
        connection._http_vsn, connection._http_vsn_str = version

        def send(method, path, headers, body):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, lower(answer.headers), answer.read()

        Steps(send).run()

    return run


def with_urllib3():
    pool = urllib3.HTTPSConnectionPool("localhost", PORT, maxsize=1, ca_certs=CA, retries=False)

    def send(method, path, headers, body):
        answer = pool.request(method, path, headers=headers, body=body)
        return answer.status, lower(answer.headers), answer.data

    def upload(path, name, content, token):
        headers = {"Authorization": f"Bearer {token}"}
        answer = pool.request("POST", path, headers=headers, fields={"file": (name, content)})
        return answer.status, answer.data

    Steps(send, upload).run()


def with_requests():
    session = requests.Session()
    session.verify = CA

    def send(method, path, headers, body):
        answer = session.request(method, URL + path, headers=headers, data=body, timeout=30)
        return answer.status_code, lower(answer.headers), answer.content

    def upload(path, name, content, token):
        headers = {"Authorization": f"Bearer {token}"}
        files = {"file": (name, content)}
        answer = session.post(URL + path, headers=headers, files=files, timeout=30)
        return answer.status_code, answer.content

    Steps(send, upload).run()


def with_httpx(http2):
    def run():
        with httpx.Client(http2=http2, verify=context(), base_url=URL, timeout=30) as session:

            def send(method, path, headers, body):
                answer = session.request(method, path, headers=headers, content=body)
                assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
                return answer.status_code, lower(answer.headers), answer.content

            def upload(path, name, content, token):
                headers = {"Authorization": f"Bearer {token}"}
                answer = session.post(path, headers=headers, files={"file": (name, content)})
                return answer.status_code, answer.content

            Steps(send, upload).run()

    return run


def with_aiohttp():
    loop = asyncio.new_event_loop()

    async def open_session():
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1, ssl=context()))

    session = loop.run_until_complete(open_session())

    async def ask(method, path, headers, **body):
        async with session.request(method, URL + path, headers=headers, **body) as answer:
            return answer.status, lower(answer.headers), await answer.read()

    def send(method, path, headers, body):
        return loop.run_until_complete(ask(method, path, headers, data=body))

    def upload(path, name, content, token):
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("file", content, filename=name)
        headers = {"Authorization": f"Bearer {token}"}
        status, _, answer = loop.run_until_complete(ask("POST", path, headers, data=form))
        return status, answer

    steps = Steps(send, upload)
    grace = steps.run()

    async def socket():
        headers = {"Authorization": f"Bearer {steps.token}"}
        url = URL.replace("https", "wss") + "/ws"
        async with session.ws_connect(url, headers=headers, protocols=["natter.v1"]) as ws:
            assert ws.protocol == "natter.v1", ws.protocol
            assert (await ws.receive_json(timeout=10))["type"] == "ready"
            await ws.send_json({"type": "ping"})
            while (await ws.receive_json(timeout=10))["type"] != "pong":
                pass
        await session.close()

    assert grace
    # The socket needs a connection of its own.
    session.connector._limit = 2
    loop.run_until_complete(socket())


def with_websockets():
    session = requests.Session()
    session.verify = CA

    def send(method, path, headers, body):
        answer = session.request(method, URL + path, headers=headers, data=body, timeout=30)
        return answer.status_code, lower(answer.headers), answer.content

    steps = Steps(send)
    login = {"email": "ada@example.com", "password": "correct horse ada"}
    steps.token = steps.expect(200, "POST", "/login", login)["access_token"]
    grace = steps.expect(200, "GET", "/users?q=grace")["items"][0]["id"]

    async def run():
        url, wanted = URL.replace("https", "wss") + "/ws", ["chat", "natter.v1"]
        async with websockets.connect(url, ssl=context(), subprotocols=wanted) as ws:
            assert ws.subprotocol == "natter.v1", ws.subprotocol
            await ws.send(json.dumps({"type": "auth", "token": steps.token}))
            assert json.loads(await ws.recv())["type"] == "ready"
            message = {"recipient_user_id": grace, "message": WORDS, "client_message_id": key()}
            sent = await asyncio.to_thread(steps.expect, 201, "POST", "/messages", message)
            while True:
                frame = json.loads(await asyncio.wait_for(ws.recv(), 10))
                if frame["type"] == "message.created" and frame["data"]["id"] == sent["id"]:
                    assert frame["data"]["message"] == WORDS
                    return

    asyncio.run(run())


client("http.client", standard_library((11, "HTTP/1.1")))
client("http.client HTTP/1.0", standard_library((10, "HTTP/1.0")))
client("urllib3", with_urllib3)
client("requests", with_requests)
client("httpx HTTP/1.1", with_httpx(False))
client("httpx h2", with_httpx(True))
client("aiohttp", with_aiohttp)
client("websockets", with_websockets)
done()
