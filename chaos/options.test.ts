import { describe, expect, it } from 'vitest';
import { parseOptions } from './options.ts';

describe('parseOptions', () => {
  it('means both drivers, the dir store and every fault once when nothing is said', () => {
    const options = parseOptions([]);
    expect(options).toMatchObject({ drivers: ['ipsec', 'wireguard'], stores: ['dir'], rounds: 1, soakSeconds: undefined, output: 'text' });
    expect(options.faults.length).toBeGreaterThan(30);
  });

  it('takes chosen faults, each once, in the order of the table', () => {
    const { faults } = parseOptions(['--fault', 'power-off', '--fault', 'agents-kill', '--fault', 'power-off']);
    expect(faults.map(({ name }) => name)).toEqual(['agents-kill', 'power-off']);
  });

  it.each([
    [['--soak'], 600],
    [['--soak', '30'], 30],
    [['--soak', '--seed', '7'], 600],
  ])('soaks for ten minutes unless told otherwise: %j', (args, seconds) => {
    expect(parseOptions(args).soakSeconds).toBe(seconds);
  });

  it.each([
    [['--driver', 'openvpn'], '--driver: must be ipsec, wireguard or both, not "openvpn"'],
    [['--store', ''], '--store: must be dir, kube or both, not ""'],
    [['--rounds', '0'], '--rounds: must be a whole number from 1 to 1000, not "0"'],
    [['--rounds', ' '], '--rounds: must be a whole number'],
    [['--seed', '1.5'], '--seed: must be a whole number'],
    [['--cut', 'long'], '--cut: must be a whole number'],
    [['--soak', '1e9'], '--soak: must be a whole number from 1 to 3000'],
    [['--fault', 'flood'], '--fault: there is no flood; there are: agents-term, '],
    [['-o', 'yaml'], '-o: must be text or json, not "yaml"'],
    [['--what'], "Unknown option '--what'"],
    [['power-off'], "Unexpected argument 'power-off'"],
  ])('refuses %j', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message);
  });
});
