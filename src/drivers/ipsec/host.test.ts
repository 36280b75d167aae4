import { describe, expect, it } from 'vitest';
import { parseCidr } from '../../net/cidr.ts';
import { renderCharonConf } from './charon-conf.ts';
import { enforces } from './charon-program.ts';
import { identifyProcess, isRunning } from '../tunnel/process.ts';
import { secretActions } from './secret.ts';
import { diffAddresses } from './user-device.ts';
import { parsePolicies, parseStates } from './xfrm.ts';

const conf = { localPort: 51820, socketPath: '/run/raven/charon.vici', logPath: '/run/raven/charon.log' };

describe("charon's configuration", () => {
  it('is one file, listens on the given port only, and takes the data path asked for', () => {
    const user = renderCharonConf({ ...conf, dataPath: 'user' });
    expect(user).toMatch(/port = 0\n\s*port_nat_t = 51820\n\s*install_routes = no/);
    expect(user).toContain('kernel-libipsec kernel-netlink');
    expect(user).not.toMatch(/include|secret/);
    const kernel = renderCharonConf({ ...conf, dataPath: 'kernel' });
    expect(kernel).toMatch(/load = .* gcm kernel-netlink socket-default vici\n/);
    expect(kernel).toContain('routing_table = 0');
  });

  it('refuses a directory whose name it cannot write down', () => {
    expect(() => renderCharonConf({ ...conf, dataPath: 'user', logPath: '/run/a"b/charon.log' })).toThrow(/--run-dir/);
  });

  it.each([
    ['/usr/sbin/charon-systemd flags=(complain,attach_disconnected) {', false],
    ['# comment {\n/usr/sbin/charon-systemd flags=(attach_disconnected) {\n', true],
    ['/usr/sbin/charon-systemd {', true],
    ['', false],
  ])('knows whether an AppArmor profile is enforced: %j', (profile, expected) => {
    expect(enforces(profile)).toBe(expected);
  });
});

describe('a process', () => {
  it('is known by number and start', async () => {
    const self = await identifyProcess(process.pid);
    expect(self).toMatchObject({ pid: process.pid });
    expect(await isRunning(self!)).toBe(true);
    expect(await isRunning({ ...self!, started: '1' })).toBe(false);
    expect(await identifyProcess(2 ** 30)).toBeUndefined();
  });
});

describe('the secret', () => {
  it('is loaded once, before the one that it replaces goes, and leaves foreign ones', () => {
    const [load] = secretActions([], 'first secret');
    const id = load!.message['id'] as string;
    expect(load).toMatchObject({ command: 'load-shared', message: { type: 'IKE', data: 'first secret' } });
    expect(secretActions([id, 'theirs'], 'first secret')).toEqual([]);
    expect(secretActions([id, 'theirs'], 'second secret').map(({ command }) => command)).toEqual(['load-shared', 'unload-shared']);
    expect(id).not.toContain('secret');
  });
});

describe("the stand-in's addresses", () => {
  const cidrs = (...texts: readonly string[]) => texts.flatMap((text) => parseCidr(text) ?? []);
  const devices = (standIn: readonly string[]) => [
    {
      ifname: 'cni0',
      addr_info: [
        { local: '10.2.0.1', scope: 'global' },
        { local: 'fe80::1', scope: 'link' },
      ],
    },
    { ifname: 'ipsec0', addr_info: standIn.map((local) => ({ local, scope: 'site' })) },
  ];

  it('are the last ones of selectors in which the machine has none', () => {
    expect(
      diffAddresses(devices([]), 'ipsec0', cidrs('10.2.0.0/24', '10.12.0.0/24', '10.22.0.7/32', 'fd00:2::/64', '0.0.0.0/0', '::/0')),
    ).toEqual({
      add: ['10.12.0.255', '10.22.0.7', 'fd00:2::ffff:ffff:ffff:ffff'],
      keep: [],
      remove: [],
    });
  });

  it('are there also where the machine has one of host scope, which charon does not see', () => {
    const raven0 = { ifname: 'raven0', addr_info: [{ local: '240.1.2.3', scope: 'host' }] };
    expect(diffAddresses([...devices([]), raven0], 'ipsec0', cidrs('240.1.2.3/32')).add).toEqual(['240.1.2.3']);
  });

  it('go when nobody needs them, and stay when they are right', () => {
    expect(diffAddresses(devices(['10.12.0.255', '10.13.0.255']), 'ipsec0', cidrs('10.12.0.0/24'))).toEqual({
      add: [],
      keep: ['10.12.0.255'],
      remove: ['10.13.0.255'],
    });
  });

  it('are known in IPv6 whatever their scope, which the kernel chooses, but for link-local ones', () => {
    const addr_info = [
      { local: 'fd00:2::ffff:ffff:ffff:ffff', scope: 'global' },
      { local: 'fe80::7', scope: 'link' },
    ];
    expect(diffAddresses([{ ifname: 'ipsec0', addr_info }], 'ipsec0', cidrs('fd00:3::/64'))).toEqual({
      add: ['fd00:3::ffff:ffff:ffff:ffff'],
      keep: [],
      remove: ['fd00:2::ffff:ffff:ffff:ffff'],
    });
  });
});

describe('`ip xfrm`', () => {
  const states = `src 203.0.113.1 dst 192.168.1.10
\tproto esp spi 0x0c1f2a3b reqid 1 mode tunnel
\treplay-window 0 flag af-unspec
\taead rfc4106(gcm(aes)) 0x00 128
\tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0
\tif_id 0x52000001
src 10.0.0.1 dst 10.0.0.2
\tproto esp spi 0x00000001 reqid 9 mode tunnel
`;
  const policy = (dir: string, ifId: string): string =>
    `src 0.0.0.0/0 dst 0.0.0.0/0 \n\tdir ${dir} priority 399999 \n\ttmpl src 1.2.3.4 dst 5.6.7.8\n\t\tproto esp reqid 1 mode tunnel\n\tif_id ${ifId}\n`;

  it('is read as far as it has to do with interfaces', () => {
    expect(parseStates(states)).toEqual([{ src: '203.0.113.1', dst: '192.168.1.10', spi: 'c1f2a3b', ifId: 0x52000001 }]);
    expect(parseStates('')).toEqual([]);
  });

  it('tells policies by interface, family and direction', () => {
    const text = policy('out', '0x1') + policy('fwd', '0x1').replaceAll('0.0.0.0/0', '::/0') + policy('in', '0x2');
    expect([...parsePolicies(text)]).toEqual(['if_id 1 inet4 dir out', 'if_id 1 inet6 dir fwd', 'if_id 2 inet4 dir in']);
  });
});
