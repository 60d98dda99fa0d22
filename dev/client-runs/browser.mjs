// Chromium, driven by Playwright, over h2 and HTTP/1.1: a page of natter's own origin, pages of an
// allowed and of another origin, and the pages that mailed links open, used as a user would.
import { X509Certificate, createHash, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { ca, client, done, expect, steps, url } from './steps.mjs';

// An empty page, at an address that server.cors_origins names and at one that it does not.
const allowed = process.env.CLIENTS_ORIGIN;
const other = allowed.replace('localhost', '127.0.0.1');
const pages = http.createServer((_, answer) => {
  answer.setHeader('content-type', 'text/html').end('<!doctype html><title>page</title>');
});
await new Promise((listening) => pages.listen(new URL(allowed).port, '127.0.0.1', listening));

// Chromium trusts the certificate by the hash of its key.
const spki = new X509Certificate(ca).publicKey.export({ type: 'spki', format: 'der' });
const pin = createHash('sha256').update(spki).digest('base64');
const launch = (...more) =>
  chromium.launch({
    executablePath: process.env.CLIENTS_CHROMIUM,
    args: [`--ignore-certificate-errors-spki-list=${pin}`, '--disable-quic', ...more],
  });

const fetchThere = async ([address, method, headers, body]) => {
  const answer = await fetch(address, { method, headers, body });
  const fields = Object.fromEntries(answer.headers);
  return { status: answer.status, headers: fields, text: await answer.text() };
};

const uploadThere = async ([address, name, token]) => {
  const body = new FormData();
  body.append('file', new Blob(['content']), name);
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(address, { method: 'POST', headers, body });
  return { status: answer.status, text: await answer.text() };
};

const socketThere = ([address, token]) =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(address, ['chat', 'natter.v1']);
    socket.onerror = () => reject(new Error('the socket failed'));
    socket.onclose = (close) => reject(new Error(`closed: ${close.code} ${close.reason}`));
    socket.onopen = () => socket.send(JSON.stringify({ type: 'auth', token }));
    socket.onmessage = (text) => {
      const frame = JSON.parse(text.data);
      if (frame.type === 'ready') socket.send(JSON.stringify({ type: 'ping' }));
      if (frame.type === 'pong') resolve(socket.protocol);
    };
  });

// The connections of natter's answers, by number, with their protocols. Preflights are left out:
// over HTTP/1.1 they have connections of their own, without credentials.
async function connections(page) {
  const seen = new Map();
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  session.on('Network.responseReceived', ({ response, type }) => {
    if (!response.url.startsWith(url) || type === 'Preflight') return;
    seen.set(response.connectionId, response.protocol);
  });
  return seen;
}

async function everything(browser, protocol, address) {
  const page = await browser.newPage();
  const seen = await connections(page);
  await page.goto(address);
  const token = await steps(
    (method, path, headers, body) => page.evaluate(fetchThere, [url + path, method, headers, body]),
    (path, name, token) => page.evaluate(uploadThere, [url + path, name, token]),
  );
  expect([...seen.values()].join() === protocol, `connections: ${[...seen.values()]}`);
  const chosen = await page.evaluate(socketThere, [`${url.replace('https', 'wss')}/ws`, token]);
  expect(chosen === 'natter.v1', `subprotocol ${chosen}`);
  await page.close();
}

for (const [protocol, name, ...flags] of [
  ['h2', 'chromium h2'],
  ['http/1.1', 'chromium HTTP/1.1', '--disable-http2'],
]) {
  const browser = await launch(...flags);
  await client(name, () => everything(browser, protocol, `${url}/verify`));
  await client(`${name}, other origin`, () => everything(browser, protocol, `${allowed}/`));
  await browser.close();
}

const browser = await launch();

await client('chromium: origin not allowed', async () => {
  const page = await browser.newPage();
  await page.goto(other);
  for (const headers of [{}, { authorization: 'Bearer x' }]) {
    const outcome = await page
      .evaluate(fetchThere, [`${url}/profile`, 'GET', headers])
      .catch((error) => error.message);
    expect(/Failed to fetch/.test(outcome), `it could read: ${JSON.stringify(outcome)}`);
  }
  await page.close();
});

// The link to this path in the newest mail to this address.
async function link(to, path) {
  for (let tries = 0; tries < 200; tries += 1) {
    const files = fs.readdirSync(process.env.CLIENTS_MAIL).filter((name) => name.endsWith('.eml'));
    for (const name of files.sort().reverse()) {
      const mail = fs.readFileSync(`${process.env.CLIENTS_MAIL}/${name}`, 'utf8');
      const [found] = mail.match(new RegExp(`${url}${path}\\?token=\\S+`)) ?? [];
      if (found && mail.includes(`To: ${to}\r\n`)) return found;
    }
    await sleep(100);
  }
  throw new Error(`no mail to ${to} with a link to ${path}`);
}

async function api(expected, method, path, body, token) {
  const headers = { 'content-type': 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(url + path, { method, headers, body: JSON.stringify(body) });
  expect(answer.status === expected, `${method} ${path}: ${answer.status}, not ${expected}`);
  const text = await answer.text();
  return text && JSON.parse(text);
}

// Opens a page. `shown(text)` waits until the page says it, and fails on errors of its scripts and
// of its Content-Security-Policy.
async function visit(address, heading, options) {
  const page = await browser.newPage(options);
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (line) => {
    // Chromium also reports each answer that is not a success.
    if (line.type() === 'error' && !/Failed to load resource/.test(line.text())) {
      faults.push(line.text());
    }
  });
  const shown = async (says) => {
    const text = page.getByRole('status');
    await text.filter({ hasText: says }).waitFor({ timeout: 10_000 }).catch(async () => {
      throw new Error(`not "${says}" but "${await text.textContent()}"`);
    });
    const shots = process.env.CLIENTS_SHOTS;
    if (shots) await page.screenshot({ path: `${shots}/${heading} ${says}.png` });
    expect(!faults.length, faults.join());
  };
  await page.goto(address);
  expect((await page.getByRole('heading').textContent()) === heading, 'another heading');
  return { page, button: page.getByRole('button'), shown };
}

// Opens a mailed link twice and clicks the button. The first time the page loses its network and
// offers another try; after success it has neither button nor token. The second time it says that
// the link is used up.
async function click(address, heading, before, after) {
  const first = await visit(address, heading);
  await first.shown(before);
  await first.page.context().setOffline(true);
  await first.button.click();
  await first.shown('Please try again in a moment');
  await first.page.context().setOffline(false);
  await first.button.click();
  await first.shown(after);
  expect((await first.button.count()) === 0, 'the button is still there');
  expect(first.page.url() === address.split('?')[0], `the address is ${first.page.url()}`);
  await first.page.close();
  const second = await visit(address, heading);
  await second.button.click();
  await second.shown('This link was used before');
  expect((await second.button.count()) === 0, 'the button is still there');
  await second.page.close();
}

const name = `zoe-${randomUUID().slice(0, 8)}`;
const [old, next] = [`${name}@example.com`, `${name}@example.net`];
const account = { email: old, password: 'correct horse zoe' };
let token = '';

await client('chromium: a new account', async () => {
  await api(201, 'POST', '/signup', { username: name, ...account });
  await api(403, 'POST', '/login', account);
  const heading = 'Confirm your e-mail address';
  const address = await link(old, '/verify');
  const plain = await visit(address, heading, { javaScriptEnabled: false });
  expect(await plain.page.locator('noscript').isVisible(), 'no explanation');
  await plain.shown('One click');
  await plain.page.close();
  await click(address, heading, 'One click', 'your address is confirmed');
  token = (await api(200, 'POST', '/login', account)).access_token;
});

await client('chromium: another address', async () => {
  await api(200, 'PUT', '/profile', { email: next }, token);
  const heading = 'Confirm your e-mail address';
  await click(await link(next, '/verify'), heading, 'One click', 'your address is confirmed');
  expect((await api(200, 'GET', '/profile', undefined, token)).email === next, 'not changed');
});

await client('chromium: the old address again', async () => {
  const address = await link(old, '/email/undo');
  await click(address, 'Keep your e-mail address', 'Someone asked to move', 'Done: your account');
  await api(401, 'GET', '/profile', undefined, token);
  await api(401, 'POST', '/login', account);
});

await client('chromium: a new password', async () => {
  await api(202, 'POST', '/password/forgot', { email: old });
  const heading = 'Choose a new password';
  const address = await link(old, '/password/reset');
  const password = 'correct horse zoe again';
  const first = await visit(address, heading);
  const field = first.page.getByLabel('New password');
  await field.fill('short');
  await first.button.click();
  expect(await field.evaluate((it) => it.matches(':invalid')), 'Chromium takes a short one');
  await field.fill('\u4f60'.repeat(25));
  await first.button.click();
  await first.shown('at most 72 bytes');
  await field.fill(password);
  await first.page.keyboard.press('Enter');
  await first.shown('Your new password is saved');
  expect((await field.count()) === 0, 'the form is still there');
  expect(first.page.url() === address.split('?')[0], `the address is ${first.page.url()}`);
  const { user } = await api(200, 'POST', '/login', { email: old, password });
  expect(user.email === old, `the address is ${user.email}`);
  const second = await visit(address, heading);
  await second.page.getByLabel('New password').fill(password);
  await second.button.click();
  await second.shown('This link was used before');
  await second.page.close();
});

await browser.close();
pages.close();
done();
