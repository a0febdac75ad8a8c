// NIP-98 headers as nostr-tools signs them, for requests of the nests' clients: `npm ci && npm run make`.
// Keys are fixed. Times and the randomness of signatures are new in each run, so each run writes other headers.
import { finalizeEvent, getPublicKey } from 'nostr-tools/pure'
import { getToken } from 'nostr-tools/nip98'

const base = 'https://nests.example.org'
const nest = `${base}/api/v1/nests/0190c9d2-5c1e-4a11-9c5e-2f6d3b1a7e05`
const key = (byte) => new Uint8Array(32).fill(byte)

const requests = [
  { secret: 1, method: 'PUT', url: `${base}/api/v1/nests`, body: { relays: ['wss://relay.example.org'], hls_stream: false } },
  { secret: 1, method: 'PUT', url: `${base}/api/v1/nests/`, body: {} },
  { secret: 2, method: 'GET', url: nest },
  { secret: 3, method: 'GET', url: `${nest}?from=nostr%3Anaddr1&x=%C3%A4` },
  { secret: 2, method: 'POST', url: `${nest}/permissions`, body: { participant: getPublicKey(key(3)), can_publish: true } },
  { secret: 2, method: 'DELETE', url: nest },
  { secret: 254, method: 'get', url: nest },
]

const vectors = []
for (const { secret, method, url, body } of requests) {
  let at
  const sign = (template) => {
    at = template.created_at
    return finalizeEvent(template, key(secret))
  }
  const authorization = await getToken(url, method, sign, true, body)
  vectors.push({ public_key: getPublicKey(key(secret)), method: method.toUpperCase(), url, body: body && JSON.stringify(body), created_at: at, authorization })
}
// The signer may add content and more tags.
const template = {
  kind: 27235, created_at: 1_800_000_000, content: 'a "quoted" line\n\u0001\u007f ünï 🎈 \\',
  tags: [['u', nest], ['method', 'GET'], ['client', 'test', ''], ['x']],
}
const event = finalizeEvent(template, key(7))
const authorization = `Nostr ${Buffer.from(JSON.stringify(event)).toString('base64')}`
vectors.push({ public_key: getPublicKey(key(7)), method: 'GET', url: nest, created_at: 1_800_000_000, authorization })
console.log(JSON.stringify(vectors, null, 2))
