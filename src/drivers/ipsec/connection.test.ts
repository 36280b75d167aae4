import { describe, expect, it } from 'vitest';
import type { IpsecPlan } from '../../domain/node-plan.ts';
import { formatConnection, isMadeFor, peerOfConnection, planConnections } from './connection.ts';
import { tunnel, tunnelPlan } from './test-plans.ts';

const toHub = tunnel('a1', ['10.2.0.0/24'], ['10.1.0.0/24', '10.11.0.0/24'], { ip: '203.0.113.1', port: 4500 });

describe('a connection', () => {
  it('reads like a piece of swanctl.conf', () => {
    const [connection] = planConnections(tunnelPlan('b1', [toHub], 51820));
    expect(formatConnection(connection!)).toMatchInlineSnapshot(`
      "connections {
        raven-a1 {
          version = 2
          mobike = no
          encap = yes
          local_addrs = %any
          remote_addrs = 203.0.113.1
          local_port = 51820
          remote_port = 4500
          proposals = aes128gcm16-prfsha256-x25519, aes256gcm16-prfsha384-x25519
          dpd_delay = 5s
          keyingtries = 0
          rekey_time = 4h
          unique = replace
          local {
            auth = psk
            id = fqdn:b1.raven
          }
          remote {
            auth = psk
            id = fqdn:a1.raven
          }
          children {
            raven-d679eacb-179675da {
              mode = tunnel
              local_ts = 10.2.0.0/24
              remote_ts = 10.1.0.0/24, 10.11.0.0/24
              esp_proposals = aes128gcm16-x25519, aes256gcm16-x25519
              rekey_time = 3600s
              start_action = none
              dpd_action = restart
              close_action = none
            }
          }
        }
      }"
    `);
  });

  it('binds to its XFRM interface in the kernel, and to none in user space', () => {
    const plan: IpsecPlan = { ...tunnelPlan('b1', [{ ...toHub, ifId: 0x52000001 }]), dataPath: 'kernel' };
    expect(formatConnection(planConnections(plan)[0]!)).toContain('if_id_in = 1375731713');
    expect(formatConnection(planConnections({ ...plan, dataPath: 'user' })[0]!)).not.toContain('if_id');
  });

  it('waits for whom it does not know the address of', () => {
    const [connection] = planConnections(tunnelPlan('a1', [tunnel('b1', ['10.1.0.0/24'], ['10.2.0.0/24'])]));
    expect(formatConnection(connection!)).toMatch(/remote_addrs = %any[^]*keyingtries = 1[^]*dpd_action = clear/);
  });

  it('is named by all that it says: any change gives its CHILD_SA another name, the order of peers none', () => {
    const named = (plan: IpsecPlan): string =>
      planConnections(plan)
        .map(({ name, children }) => `${name} ${children[0]}`)
        .join();
    const other = tunnel('c1', ['10.2.0.0/24'], ['10.3.0.0/24']);
    const base = tunnelPlan('b1', [toHub, other]);
    const variants = [
      base,
      { ...base, localPort: 4501 },
      { ...base, localName: 'b3' },
      tunnelPlan('b1', [{ ...toHub, remote: { ...toHub.remote!, port: 4501 } }, other]),
      tunnelPlan('b1', [{ ...toHub, initiate: false }, other]),
      tunnelPlan('b1', [{ ...toHub, remoteTs: toHub.localTs }, other]),
    ];
    expect(new Set(variants.map(named)).size).toBe(variants.length);
    const [wanted] = planConnections(base);
    expect(variants.map((plan) => planConnections(plan)[0]!.children.map((child) => isMadeFor(child, wanted!)))).toEqual(
      variants.map((plan) => wanted!.children.map(() => plan === base)),
    );
    expect(named(tunnelPlan('b1', [other, toHub]))).toBe(named(base));
  });

  it('tells its peer, and is told from those of others', () => {
    expect([peerOfConnection('raven-a1'), peerOfConnection('office')]).toEqual(['a1', undefined]);
  });
});
