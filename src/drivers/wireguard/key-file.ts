import { createPrivateKey, createPublicKey, generateKeyPairSync, hkdfSync } from 'node:crypto';
import { chmod, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { compareText } from '../../lib/compare.ts';
import { parseWgKey, type WgKey } from '../../net/wg-key.ts';
import { replaceFile } from '../tunnel/replace-file.ts';

export interface KeyFile {
  /** For `wg set … private-key`. The key itself stays in there. */
  readonly path: string;
  readonly publicKey: WgKey;
}

/** What stands before the 32 bytes of an X25519 private key, and of a public one, in DER (RFC 8410 §7 and §4). */
const PRIVATE_DER = Buffer.from('302e020100300506032b656e04220420', 'hex');
const KEY_BYTES = 32;

function keyFilePath(stateDir: string): string {
  return join(stateDir, 'wireguard.key');
}

/**
 * The node's key: made at the first call, and kept for good.
 *
 * @throws when the file holds something else; it is never overwritten
 */
export async function ensureKey(stateDir: string): Promise<KeyFile> {
  const path = keyFilePath(stateDir);
  const text = await readIfThere(path);
  if (text === undefined) {
    const key = generateKey();
    await replaceFile(path, `${key}\n`);
    return { path, publicKey: publicKeyOf(key) };
  }
  const key = parseWgKey(text.trim());
  if (key === undefined) throw new Error(`${path} holds no WireGuard key; when it is removed, a new one is made`);
  await chmod(path, 0o600);
  return { path, publicKey: publicKeyOf(key) };
}

/** For when the node leaves: with another key it would be another peer to everybody. */
export async function removeKey(stateDir: string): Promise<void> {
  await rm(keyFilePath(stateDir), { force: true });
}

/** As `wg genkey`. */
export function generateKey(): WgKey {
  const der = generateKeyPairSync('x25519').privateKey.export({ format: 'der', type: 'pkcs8' });
  const bytes = Uint8Array.from(der.subarray(-KEY_BYTES));
  // Clamped as curve25519 wants it (RFC 7748 §5), so that the kernel shows the same key that the file holds.
  bytes[0] = (bytes[0] ?? 0) & 248;
  bytes[31] = ((bytes[31] ?? 0) & 127) | 64;
  return toKey(bytes);
}

/** As `wg pubkey`. */
export function publicKeyOf(privateKey: WgKey): WgKey {
  const key = createPrivateKey({
    key: Buffer.concat([PRIVATE_DER, Buffer.from(privateKey, 'base64')]),
    format: 'der',
    type: 'pkcs8',
  });
  return toKey(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES));
}

/** The pre-shared key of two nodes, from the secret that all share (RFC 5869). Both ends come to the same, whatever their order. */
export function presharedKeyOf(secret: string, a: WgKey, b: WgKey): WgKey {
  const info = `raven wireguard preshared-key ${[a, b].toSorted(compareText).join(' ')}`;
  return toKey(new Uint8Array(hkdfSync('sha256', secret, '', info, KEY_BYTES)));
}

function toKey(bytes: Uint8Array): WgKey {
  const key = parseWgKey(Buffer.from(bytes).toString('base64'));
  if (key === undefined) throw new Error(`a key has ${KEY_BYTES} bytes, not ${bytes.length}`);
  return key;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
