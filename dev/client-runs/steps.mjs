// The steps of checks.py for the clients of Node and for Chromium, and one line of output per client.
import fs from 'node:fs';

export const url = process.env.CLIENTS_URL;
export const ca = fs.readFileSync(process.env.CLIENTS_CA);
const words =
  'h\u00e9llo \u4f60\u597d \u0645\u0631\u062d\u0628\u0627 \u{1f469}\u200d\u{1f52c} <b>&amp;\r\n\t\\';
let failed = false;

export const expect = (holds, says) => {
  if (!holds) throw new Error(says);
};

// `send(method, path, headers, body)` gives {status, headers, text}.
export async function steps(send, upload) {
  let token = '';
  const ask = async (expected, method, path, body, more = {}) => {
    const headers = { authorization: `Bearer ${token}`, ...more };
    if (!headers.authorization.slice(7)) delete headers.authorization;
    if (body !== undefined) headers['content-type'] ??= 'application/json';
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const answer = await send(method, path, headers, text);
    expect(answer.status === expected, `${method} ${path}: ${answer.status}, not ${expected}`);
    return { headers: answer.headers, json: answer.text ? JSON.parse(answer.text) : null };
  };
  const login = { email: 'ada@example.com', password: 'correct horse ada' };
  token = (await ask(200, 'POST', '/login', login)).json.access_token;
  const grace = (await ask(200, 'GET', '/users?q=grace')).json.items[0].id;
  const message = { recipient_user_id: grace, message: words };
  const sent = (await ask(201, 'POST', '/messages', message)).json;
  expect(sent.message === words, 'other words came back');
  const page = (await ask(200, 'GET', `/messages/${grace.toUpperCase()}?limit=1`)).json;
  expect(page.items[0].id === sent.id, 'another message came back');
  if (upload) {
    const answer = await upload('/attachments', 'r\u00e9sum\u00e9; a=b.txt', token);
    expect(answer.status === 201, `upload: ${answer.status}`);
    expect(JSON.parse(answer.text).filename === 'r\u00e9sum\u00e9; a=b.txt', answer.text);
  }
  for (const size of [10, 60_000, 900_000]) {
    const body = JSON.stringify({ message: 'x'.repeat(size) });
    for (const [status, method, path, more] of [
      [401, 'POST', '/messages', { authorization: 'Bearer bad' }],
      [404, 'POST', '/nothing', {}],
      [405, 'PUT', '/login', {}],
      [415, 'POST', '/messages', { 'content-type': 'text/plain' }],
    ]) {
      await ask(status, method, path, body, more);
      await ask(200, 'GET', '/profile');
    }
  }
  await ask(413, 'POST', '/messages', { ...message, message: 'x'.repeat(200_000) });
  await ask(200, 'GET', '/profile');
  const charset = { 'content-type': 'application/json; charset=utf8' };
  await ask(201, 'POST', '/messages', message, charset);
  const encoded = await ask(415, 'POST', '/messages', message, { 'content-encoding': 'gzip' });
  const accepted = encoded.headers['accept-encoding'];
  expect(accepted === 'identity', `Accept-Encoding: ${accepted}`);
  return token;
}

export async function client(name, run) {
  const began = performance.now();
  let outcome = 'ok';
  try {
    await run();
  } catch (error) {
    failed = true;
    outcome = `FAILED: ${error.code ?? error.name}: ${error.message}`;
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(2);
  console.log(`${name.padEnd(32)} ${seconds.padStart(6)} s  ${outcome}`);
}

export const done = () => process.exit(failed ? 1 : 0);
