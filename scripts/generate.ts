import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generatedFiles } from './generate/files.ts';
import { MANIFESTS_FILE, renderManifests } from './generate/manifests.ts';

/** `make generate`: writes every file that follows from the sources, and says which. A test compares them with what is checked in. */
const root = fileURLToPath(new URL('..', import.meta.url));
for (const { path, text } of await generatedFiles()) await write(path, text);
// Last: the chart has templates among the files before.
const manifests = renderManifests(process.env);
if (manifests === undefined) console.log(`${MANIFESTS_FILE}: left as it is, helm not found (scripts/setup.sh kube)`);
else await write(MANIFESTS_FILE, manifests);

async function write(path: string, text: string): Promise<void> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  console.log(path);
}
