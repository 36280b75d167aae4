import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isNamespaced } from '../object.ts';
import type { Kind } from '../../api/kinds.ts';

const STATE_FOLDER = 'raven-state';
/** File names end at 255 bytes (`NAME_MAX`); the version number and `.yaml` need some of them. */
const LONGEST_BASE = 200;

/** Where a store keeps what Raven adds to a directory of manifests; no other file below `dir` is ever written. */
export function stateFolder(dir: string): string {
  return join(dir, STATE_FOLDER);
}

export function kindFolder(dir: string, kind: Kind): string {
  return join(stateFolder(dir), kind);
}

/** Files in the making; apart from the others so that nobody who watches those is woken by them. */
export function tempFolder(dir: string): string {
  return join(stateFolder(dir), '.tmp');
}

/** The part of a state file's name that says which object it is about: `[namespace.]name`. */
export function baseOf(kind: Kind, name: string, namespace: string | undefined): string {
  const base = isNamespaced(kind) ? `${escape(namespace || 'default').replaceAll('.', '%2E')}.${escape(name)}` : escape(name);
  if (base.length <= LONGEST_BASE) return base;
  return `${base.slice(0, LONGEST_BASE - 20)}~${createHash('sha1').update(base).digest('hex').slice(0, 16)}`;
}

export interface StateFileName {
  readonly base: string;
  /** Version: the highest number is the one that counts. */
  readonly n: number;
}

export function formatStateFileName({ base, n }: StateFileName): string {
  return `${base}.${n}.yaml`;
}

/** @returns undefined for names that are not of this form */
export function parseStateFileName(name: string): StateFileName | undefined {
  const [, base, digits] = /^(.+)\.([1-9]\d{0,14})\.yaml$/.exec(name) ?? [];
  return base === undefined || digits === undefined ? undefined : { base, n: Number(digits) };
}

function escape(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9._-]/gu, (char) =>
    Buffer.from(char)
      .toString('hex')
      .replaceAll(/../g, (byte) => `%${byte.toUpperCase()}`),
  );
}
