// Runs Chromium for a test: node drive.mjs <bundle>. Reads one command per line of standard input and writes one answer
// per line, in order:
//
//   {"page": "ann", "call": "join", "with": {…}}  →  {"answer": …} or {"error": "…"}
//
// A page is opened in its own context when it is first named. `call` is a function of page.mjs, or `close`.
// The end of standard input closes the browser.
import fs from 'node:fs';
import http from 'node:http';
import readline from 'node:readline';
import { chromium } from 'playwright-core';

const bundle = fs.readFileSync(process.argv[2]);
const server = http.createServer((request, response) => {
  const script = request.url === '/page.js';
  response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
  response.end(script ? bundle : '<!doctype html><body><script src="page.js"></script></body>');
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    '--no-sandbox', // Chromium refuses to run as root with one
    '--disable-gpu',
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream',
    '--auto-select-desktop-capture-source=Entire',
    '--autoplay-policy=no-user-gesture-required',
  ],
});

const pages = new Map();
const logs = new Map();

async function open(name) {
  const page = await (await browser.newContext()).newPage();
  const log = [];
  // Queries of URLs contain tokens.
  page.on('console', (message) => log.push(message.text().replace(/\?\S+/g, '?…').slice(0, 300)));
  page.on('pageerror', (error) => log.push(`uncaught: ${error.message}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  pages.set(name, page);
  logs.set(name, log);
  return page;
}

async function run({ page: name, call, with: parameters }) {
  const page = pages.get(name) ?? (await open(name));
  if (call === 'close') {
    pages.delete(name);
    return page.close({ runBeforeUnload: true }); // as a user closes a tab
  }
  return page.evaluate(([call, parameters]) => window.fixture[call](parameters), [call, parameters]);
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let reply;
  try {
    reply = { answer: (await run(command)) ?? null };
  } catch (error) {
    const last = (logs.get(command.page) ?? []).slice(-8).join('\n  ');
    reply = { error: `${command.page} ${command.call}: ${error.message.split('\n    at ')[0]}\n  ${last}` };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
await browser.close();
server.close();
process.exit(0);
