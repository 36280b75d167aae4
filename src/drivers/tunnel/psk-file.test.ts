import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../../lib/errors.ts';
import { readPskFile } from './psk-file.ts';

const SECRET = 'c0ffee0123456789abcdef9876543210';
let dir = '';

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'raven-psk-'));
});
afterAll(() => rm(dir, { recursive: true }));

async function file(text: string, mode = 0o600): Promise<string> {
  const path = join(dir, 'psk');
  await writeFile(path, text);
  await chmod(path, mode);
  return path;
}

describe('readPskFile', () => {
  it('gives the secret without its newline', async () => {
    expect(await readPskFile(await file(`${SECRET}\n`))).toBe(SECRET);
  });

  it('lets the group read, as mounted Kubernetes secrets are', async () => {
    expect(await readPskFile(await file(SECRET, 0o640))).toBe(SECRET);
  });

  it('refuses a file that everybody can read, and says what to do', async () => {
    await expect(readPskFile(await file(SECRET, 0o644))).rejects.toThrow(/--psk-file.*chmod 600/);
  });

  it('names flag and file when it is missing, empty or a sample', async () => {
    await expect(readPskFile(join(dir, 'none'))).rejects.toThrow(/--psk-file: cannot read the secret: ENOENT.*none/);
    await expect(readPskFile(await file('\n'))).rejects.toThrow(/--psk-file: .*psk: the secret is empty/);
    await expect(readPskFile(await file('OPENYURT-RAVEN-AGENT-VPN-PSK'))).rejects.toThrow(UserError);
  });
});
