declare const brand: unique symbol;

/** A WireGuard key as `wg` prints it: 32 bytes in base64. */
export type WgKey = string & { readonly [brand]: 'WgKey' };

/** 32 bytes are 43 digits, the last of which has two bits that stand for nothing and must be zero, and a `=`. */
const WG_KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

/** Parses `text`, or returns undefined when it is no key. */
export function parseWgKey(text: string): WgKey | undefined {
  return WG_KEY.test(text) ? (text as WgKey) : undefined;
}
