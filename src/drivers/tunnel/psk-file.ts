import { readFile, stat } from 'node:fs/promises';
import { checkPsk } from '../../domain/psk.ts';
import { messageOf, UserError } from '../../lib/errors.ts';

const FLAG = '--psk-file';
const OTHERS_READ = 0o004;

/**
 * The secret in `path`, without the white space around it.
 *
 * A file that every user of the machine may read is refused: the secret of all gateways would be anybody's. Group access is let through,
 * since Kubernetes mounts secrets so (`fsGroup`).
 *
 * @throws {UserError} naming the flag and the file; never holding the secret
 */
export async function readPskFile(path: string): Promise<string> {
  const { text, mode } = await read(path);
  if ((mode & OTHERS_READ) !== 0) throw problem(`${path}: every user of this machine can read it; run: chmod 600 ${path}`);
  const checked = checkPsk(text);
  if (!checked.ok) throw problem(`${path}: ${checked.message}`);
  return checked.psk;
}

/**
 * The secret in `text`, without the white space around it.
 *
 * @param source where it comes from, for messages
 * @throws {UserError} never holding the secret
 */
export function checkPskText(text: string, source: string): string {
  const checked = checkPsk(text);
  if (!checked.ok) throw new UserError([{ source, message: checked.message }]);
  return checked.psk;
}

async function read(path: string): Promise<{ text: string; mode: number }> {
  try {
    return { text: await readFile(path, 'utf8'), mode: (await stat(path)).mode };
  } catch (error) {
    throw problem(`cannot read the secret: ${messageOf(error)}`, error);
  }
}

function problem(message: string, cause?: unknown): UserError {
  return new UserError([{ source: FLAG, message }], { cause });
}
