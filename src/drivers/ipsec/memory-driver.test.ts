import { describe, expect, it } from 'vitest';
import { tunnel, tunnelDriverConformance, tunnelPlan } from './conformance.ts';
import { createMemoryNetwork } from './memory-driver.ts';

describe('the driver in memory', () => {
  tunnelDriverConformance(async () => {
    const network = createMemoryNetwork();
    return {
      driver: (node, psk) => network.driver({ node, ...(psk !== undefined && { psk }) }),
      remote: { ip: '192.0.2.2', port: 4500 },
      close: async () => undefined,
    };
  });

  it('drops what is blocked and brings it back', async () => {
    const network = createMemoryNetwork();
    const [a, b] = ['a', 'b'].map((node) => network.driver({ node }));
    await a!.set(tunnelPlan('a', [tunnel('b', ['10.1.0.0/24'], ['10.2.0.0/24'])]));
    await b!.set(tunnelPlan('b', [tunnel('a', ['10.2.0.0/24'], ['10.1.0.0/24'], { ip: '192.0.2.2', port: 4500 })]));
    network.block('a', 'b');
    expect((await a!.list())[0]?.state).toBe('down');
    network.unblock('a', 'b');
    expect((await a!.list())[0]?.state).toBe('up');
  });
});
