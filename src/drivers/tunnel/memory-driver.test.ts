import { describe, expect, it } from 'vitest';
import { ipsecPlanOf } from '../ipsec/test-plans.ts';
import { wireguardPlanOf } from '../wireguard/test-plans.ts';
import { tunnelDriverConformance } from './conformance.ts';
import { createMemoryNetwork, memoryKey } from './memory-driver.ts';

const REMOTE = { ip: '192.0.2.2', port: 4500 };
const DIFFERS = /^authentication failed: the secret differs/;

describe.each(['ipsec', 'wireguard'] as const)('the driver in memory, as %s', (name) => {
  tunnelDriverConformance(async () => {
    const network = createMemoryNetwork();
    return {
      driver: (node, psk) => network.driver({ node, name, ...(psk !== undefined && { psk }) }),
      remote: REMOTE,
      plan: name === 'ipsec' ? ipsecPlanOf : (localName, peers) => wireguardPlanOf(localName, peers, memoryKey),
      secretsDiffer: { a: DIFFERS, b: DIFFERS },
      saysGoodbye: true,
      close: async () => undefined,
    };
  });
});

describe('the driver in memory', () => {
  it('drops what is blocked and brings it back', async () => {
    const network = createMemoryNetwork();
    const [a, b] = ['a', 'b'].map((node) => network.driver({ node }));
    await a!.set(ipsecPlanOf('a', [{ peer: 'b', local: '10.1.0.0/24', remote: '10.2.0.0/24' }]));
    await b!.set(ipsecPlanOf('b', [{ peer: 'a', local: '10.2.0.0/24', remote: '10.1.0.0/24', call: REMOTE }]));
    network.block('a', 'b');
    expect((await a!.list())[0]?.state).toBe('down');
    network.unblock('a', 'b');
    expect((await a!.list())[0]?.state).toBe('up');
  });
});
