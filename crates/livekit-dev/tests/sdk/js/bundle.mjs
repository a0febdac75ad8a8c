// Bundles the fixture page with livekit-client: node bundle.mjs <file>.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

await build({
  entryPoints: [fileURLToPath(new URL('page.mjs', import.meta.url))],
  outfile: process.argv[2],
  bundle: true,
  format: 'iife',
  logLevel: 'error',
});
