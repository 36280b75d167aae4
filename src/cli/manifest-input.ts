import { readFile } from 'node:fs/promises';
import { normalize } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { messageOf, UserError } from '../lib/errors.ts';
import { tryStat, walkManifests } from '../store/dir/walk.ts';

/** A text that somebody gave to a command, and what to call it in messages. */
export interface ManifestInput {
  readonly name: string;
  readonly text: string;
}

/**
 * Reads what `-f` names, as kubectl does: files, directories with all below them, or `-` for standard input.
 * @throws {UserError} when there is no such file, or it cannot be read
 */
export async function readManifestInputs(paths: readonly string[]): Promise<ManifestInput[]> {
  const inputs: ManifestInput[] = [];
  for (const path of paths) {
    if (path === '-') inputs.push({ name: '(standard input)', text: await readAll(process.stdin) });
    else for (const name of await filesOf(path)) inputs.push({ name, text: await read(name) });
  }
  return inputs;
}

async function filesOf(path: string): Promise<readonly string[]> {
  const stats = tryStat(path);
  if (stats === undefined) throw new UserError([{ source: '-f', message: `there is no ${path}` }]);
  if (!stats.isDirectory()) return [path];
  const { files, problems } = await walkManifests(normalize(path));
  if (problems.length > 0) throw new UserError(problems);
  if (files.length === 0) throw new UserError([{ source: '-f', message: `no file in ${path} ends in .yaml, .yml or .json` }]);
  return files;
}

async function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw new UserError([{ source: file, message: messageOf(error) }]);
  });
}
