import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WgKey } from '../../net/wg-key.ts';
import { ensureKey, generateKey, presharedKeyOf, publicKeyOf, removeKey } from './key-file.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'raven-key-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const wg = (command: string, input = ''): WgKey => execFileSync('wg', [command], { input, encoding: 'utf8' }).trim() as WgKey;

describe('the key file', () => {
  it('is made once, for root only, and kept', async () => {
    const first = await ensureKey(join(dir, 'state'));
    expect((await stat(first.path)).mode & 0o777).toBe(0o600);
    const text = await readFile(first.path, 'utf8');
    expect(await ensureKey(join(dir, 'state'))).toEqual(first);
    expect(await readFile(first.path, 'utf8')).toBe(text);
    await removeKey(join(dir, 'state'));
    expect((await ensureKey(join(dir, 'state'))).publicKey).not.toBe(first.publicKey);
  });

  it('is closed again when others could read it', async () => {
    await writeFile(join(dir, 'wireguard.key'), `${generateKey()}\n`, { mode: 0o644 });
    expect((await stat((await ensureKey(dir)).path)).mode & 0o777).toBe(0o600);
  });

  it('with something else in it is refused, not replaced', async () => {
    await writeFile(join(dir, 'wireguard.key'), 'half a k');
    await expect(ensureKey(dir)).rejects.toThrow(`${join(dir, 'wireguard.key')} holds no WireGuard key`);
    expect(await readFile(join(dir, 'wireguard.key'), 'utf8')).toBe('half a k');
  });
});

describe('keys', () => {
  it('are what `wg` makes of them', () => {
    const ours = generateKey();
    expect(publicKeyOf(ours)).toBe(wg('pubkey', ours));
    const theirs = wg('genkey');
    expect(publicKeyOf(theirs)).toBe(wg('pubkey', theirs));
  });

  it('shared by a pair are the same on both sides, and differ from pair to pair and secret to secret', () => {
    const [a, b, c] = [1, 2, 3].map(() => publicKeyOf(generateKey())) as [WgKey, WgKey, WgKey];
    expect(presharedKeyOf('secret', a, b)).toBe(presharedKeyOf('secret', b, a));
    expect(new Set([presharedKeyOf('secret', a, b), presharedKeyOf('secret', a, c), presharedKeyOf('other', a, b)]).size).toBe(3);
  });
});
