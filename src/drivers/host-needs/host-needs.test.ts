import { describe, expect, it } from 'vitest';
import { CommandError, type Exec, hostExec } from '../exec/exec.ts';
import { inspectGateway, inspectNode } from './host-needs.ts';

/** A machine that fails where `stderr` says so, by the program or the first words of what it is told. `missing`: the program itself. */
function machine(trouble: Readonly<Record<string, string>>): Exec {
  return (argv, options) => {
    const told = [argv.join(' '), ...(options?.stdin ?? '').split('\n')];
    const found = Object.entries(trouble).find(([words]) => told.some((line) => line.startsWith(words)));
    if (found === undefined) return Promise.resolve('');
    const cause = found[1] === 'missing' ? { cause: Object.assign(new Error('spawn'), { code: 'ENOENT' }) } : undefined;
    return Promise.reject(new CommandError(argv, 2, found[1], cause));
  };
}

describe('what a machine lacks', () => {
  it.each<[string, Record<string, string>, string[]]>([
    ['nothing', {}, []],
    [
      'programs, before the kernel is asked',
      { bridge: 'missing', nft: 'missing' },
      ['program bridge (package iproute2)', 'program nft (package nftables)'],
    ],
    [
      'VXLAN',
      { 'link add rvn-try type vxlan': 'Error: Unknown device type.\nCommand failed -:1\n' },
      ['VXLAN devices in the kernel (Unknown device type)'],
    ],
    [
      'next-hop objects',
      { 'nexthop add': 'RTNETLINK answers: Operation not supported\nCommand failed -:2\n' },
      ['next-hop objects in the kernel (Linux 5.3 or later) (Operation not supported)'],
    ],
    [
      'nf_tables',
      { 'nft -c': '/dev/stdin:3:1-2: Error: Could not process rule: No such file or directory\nadd rule x fib\n' },
      [
        'nf_tables in the kernel with all that table raven uses (/dev/stdin:3:1-2: Error: Could not process rule: No such file or directory: add rule x fib)',
      ],
    ],
  ])('%s', async (_what, trouble, expected) => {
    expect(await inspectNode(machine(trouble))).toEqual(expected);
  });

  it('TUN devices, when the kernel does not encrypt and charon is our own', async () => {
    const exec = machine({ tuntap: 'open: No such file or directory\nCommand failed -:1\n' });
    const user = { driver: 'ipsec', dataPath: 'user', reason: 'the kernel lacks XFRM interfaces' } as const;
    const lacks = (choice: Parameters<typeof inspectGateway>[1], charon: 'own' | 'external') => inspectGateway(exec, choice, charon);
    expect((await lacks(user, 'own')).at(-1)).toBe(
      'TUN devices (/dev/net/tun) (open: No such file or directory), which tunnels need as the kernel lacks XFRM interfaces',
    );
    expect(await lacks(user, 'external')).toEqual([]);
    expect((await lacks({ driver: 'ipsec', dataPath: 'kernel', reason: '' }, 'own')).join()).not.toContain('TUN');
  });

  it("WireGuard's programs: wg always, wireguard-go only where the kernel has no WireGuard", async () => {
    const exec = machine({ wg: 'missing' });
    const lacks = (dataPath: 'kernel' | 'user') => inspectGateway(exec, { driver: 'wireguard', dataPath, reason: '' }, 'external');
    expect(await lacks('kernel')).toEqual(['program wg (package wireguard-tools)']);
    expect(await lacks('user')).toEqual(['program wg (package wireguard-tools)']);
    expect(
      await inspectGateway(machine({ 'wireguard-go': 'missing' }), { driver: 'wireguard', dataPath: 'user', reason: '' }, 'own'),
    ).toEqual(['program wireguard-go (package wireguard-go)']);
  });

  it.runIf(process.getuid?.() === 0)('nothing on this machine, and nothing is left behind', async () => {
    const look = async (): Promise<string> =>
      (
        await Promise.all(
          [
            ['ip', 'link'],
            ['ip', 'rule'],
            ['ip', 'nexthop'],
            ['nft', 'list', 'tables'],
          ].map((argv) => hostExec(argv as [string, string])),
        )
      ).join();
    const before = await look();
    expect(await inspectNode(hostExec)).toEqual([]);
    expect(await look()).toBe(before);
  });
});
