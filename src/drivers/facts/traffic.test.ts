import { describe, expect, it } from 'vitest';
import { tunnelPackets } from './traffic.ts';

describe('tunnelPackets', () => {
  it('sums both directions of the tunnels’ devices, and nothing else', () => {
    const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  123       7    0    0    0     0          0         0      123       7    0    0    0     0       0          0
raven0:  999    9000    0    0    0     0          0         0      999    9000    0    0    0     0       0          0
rvn-a1: 8400     100    0    0    0     0          0         0     4200      50    0    0    0     0       0          0
raven-wg0: 84     1    0    0    0     0          0         0       42       2    0    0    0     0       0          0
`;
    expect(tunnelPackets(text)).toBe(153);
  });

  it('is none where there are no tunnels', () => {
    expect(tunnelPackets('')).toBe(0);
  });
});
