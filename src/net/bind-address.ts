import { isIPv4, isIPv6 } from 'node:net';
import { UserError } from '../lib/errors.ts';

/** Where a server listens. */
export interface BindAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `HOST:PORT`, `[IPV6]:PORT` or `:PORT`; the last takes `defaultHost`.
 * @returns `'off'` for `0` and the empty text; undefined when it is none of these
 */
export function parseBindAddress(text: string, defaultHost: string): BindAddress | 'off' | undefined {
  if (text === '0' || text === '') return 'off';
  const [, bracketed, plain, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port < 1 || port > 65_535) return undefined;
  const host = bracketed ?? (plain || defaultHost);
  const isAddress = bracketed === undefined ? isIPv4(host) || host === defaultHost || host === 'localhost' : isIPv6(host);
  return isAddress ? { host, port } : undefined;
}

/** @throws {UserError} naming the flag when the text is no address */
export function requireBindAddress(flag: string, text: string, defaultHost: string): BindAddress | 'off' {
  const address = parseBindAddress(text, defaultHost);
  if (address !== undefined) return address;
  throw new UserError([{ source: flag, message: `${JSON.stringify(text)} is no address: [HOST]:PORT, or 0 for none` }]);
}
