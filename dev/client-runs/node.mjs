// Node's clients: https, http2, fetch, undici, got, axios, ws.
import https from 'node:https';
import http2 from 'node:http2';
import { Client, FormData as UndiciForm, request as undiciRequest } from 'undici';
import got from 'got';
import axios from 'axios';
import WebSocket from 'ws';
import { ca, client, done, expect, steps, url } from './steps.mjs';

const overHttps = (agent) => (method, path, headers, body) =>
  new Promise((resolve, reject) => {
    const request = https.request(url + path, { method, headers, agent }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece) => (text += piece));
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });

await client('node https', async () => {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca });
  await steps(overHttps(agent));
  agent.destroy();
});

await client('node http2', async () => {
  const session = http2.connect(url, { ca });
  await steps(
    (method, path, headers, body) =>
      new Promise((resolve, reject) => {
        const stream = session.request({ ':method': method, ':path': path, ...headers });
        let [head, text] = [{}, ''];
        stream.setEncoding('utf8');
        stream.on('response', (fields) => (head = fields));
        stream.on('data', (piece) => (text += piece));
        stream.on('end', () => resolve({ status: head[':status'], headers: head, text }));
        stream.on('error', reject);
        stream.end(body);
      }),
  );
  session.close();
});

await client('node fetch', async () => {
  await steps(
    async (method, path, headers, body) => {
      const answer = await fetch(url + path, { method, headers, body });
      const fields = Object.fromEntries(answer.headers);
      return { status: answer.status, headers: fields, text: await answer.text() };
    },
    async (path, name, token) => {
      const body = new FormData();
      body.append('file', new Blob(['content']), name);
      const headers = { authorization: `Bearer ${token}` };
      const answer = await fetch(url + path, { method: 'POST', headers, body });
      return { status: answer.status, text: await answer.text() };
    },
  );
});

for (const allowH2 of [false, true]) {
  await client(allowH2 ? 'undici h2' : 'undici', async () => {
    const dispatcher = new Client(url, { connect: { ca }, allowH2 });
    const ask = async (path, options) => {
      const answer = await undiciRequest(url + path, { dispatcher, ...options });
      return {
        status: answer.statusCode,
        headers: answer.headers,
        text: await answer.body.text(),
      };
    };
    await steps(
      (method, path, headers, body) => ask(path, { method, headers, body }),
      (path, name, token) => {
        const body = new UndiciForm();
        body.append('file', new Blob(['content']), name);
        const headers = { authorization: `Bearer ${token}` };
        return ask(path, { method: 'POST', headers, body });
      },
    );
    await dispatcher.close();
  });
}

for (const h2 of [false, true]) {
  await client(h2 ? 'got h2' : 'got', async () => {
    const session = got.extend({
      http2: h2,
      https: { certificateAuthority: ca },
      throwHttpErrors: false,
      retry: { limit: 0 },
      ...(h2 ? {} : { agent: { https: new https.Agent({ keepAlive: true, maxSockets: 1, ca }) } }),
    });
    await steps(async (method, path, headers, body) => {
      const answer = await session(url + path, { method, headers, body, allowGetBody: true });
      return { status: answer.statusCode, headers: answer.headers, text: answer.body };
    });
  });
}

await client('axios', async () => {
  const httpsAgent = new https.Agent({ keepAlive: true, maxSockets: 1, ca });
  const session = axios.create({
    baseURL: url,
    httpsAgent,
    proxy: false,
    validateStatus: () => true,
    responseType: 'text',
    transformResponse: (text) => text,
    transformRequest: (body) => body,
  });
  await steps(async (method, path, headers, data) => {
    const answer = await session.request({ method, url: path, headers, data });
    return { status: answer.status, headers: answer.headers, text: answer.data };
  });
  httpsAgent.destroy();
});

await client('ws', async () => {
  const send = overHttps(new https.Agent({ ca }));
  const login = JSON.stringify({ email: 'ada@example.com', password: 'correct horse ada' });
  const answer = await send('POST', '/login', { 'content-type': 'application/json' }, login);
  const token = JSON.parse(answer.text).access_token;
  const address = `${url.replace('https', 'wss')}/ws`;
  await new Promise((resolve, reject) => {
    const socket = new WebSocket(address, ['chat', 'natter.v1'], { ca });
    socket.on('error', reject);
    socket.on('open', () => socket.send(JSON.stringify({ type: 'auth', token })));
    socket.on('message', (text) => {
      const frame = JSON.parse(text);
      if (frame.type === 'ready') socket.send(JSON.stringify({ type: 'ping' }));
      if (frame.type !== 'pong') return;
      socket.protocol === 'natter.v1' ? resolve() : reject(new Error(socket.protocol));
      socket.close();
    });
  });
});

done();
