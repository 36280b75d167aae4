import { describe, expect, it } from 'vitest';
import { parseBindAddress } from './bind-address.ts';

describe('a bind address', () => {
  it.each([
    ['127.0.0.1:10275', { host: '127.0.0.1', port: 10275 }],
    [':10265', { host: '192.0.2.1', port: 10265 }],
    ['[::]:10265', { host: '::', port: 10265 }],
    ['localhost:1', { host: 'localhost', port: 1 }],
    ['0', 'off'],
    ['', 'off'],
  ])('%j is read', (text, expected) => {
    expect(parseBindAddress(text, '192.0.2.1')).toEqual(expected);
  });

  it.each(['10265', ':0', ':65536', '::1:10265', '[127.0.0.1]:1', '256.0.0.1:1', 'a b:1', '127.0.0.1:', ':+1'])('%j is refused', (text) => {
    expect(parseBindAddress(text, '192.0.2.1')).toBeUndefined();
  });
});
