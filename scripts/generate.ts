import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generatedFiles } from './generate/files.ts';

/** `make generate`: writes every file that follows from the sources, and says which. A test compares them with what is checked in. */
const root = fileURLToPath(new URL('..', import.meta.url));
for (const { path, text } of await generatedFiles()) {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  console.log(path);
}
