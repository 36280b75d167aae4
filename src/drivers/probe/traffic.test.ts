import { describe, expect, it } from 'vitest';
import { createTrafficMeter } from './traffic.ts';

const table = (packets: number): string =>
  `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
  eth0: 1 999${packets} 0 0 0 0 0 0 1 7 0 0 0 0 0 0
raven0:       1 ${packets}    0    0    0     0          0         0        1      10    0    0    0     0       0          0
`;

describe('the traffic meter', () => {
  it('counts what passes our devices, without our own probes and without other devices', () => {
    let [nowMs, packets] = [0, 0];
    const meter = createTrafficMeter(
      () => nowMs,
      () => table(packets),
    );
    const after = (ms: number, foreign: number, own: number): boolean => {
      nowMs += ms;
      packets += foreign + own;
      total += own;
      return meter.isBusy(total);
    };
    let total = 0;
    expect(after(0, 5000, 0)).toBe(false);
    expect(after(1000, 3, 100)).toBe(false);
    expect(after(250, 8, 4)).toBe(true);
    expect(after(9_000, 0, 4)).toBe(true);
    expect(after(2_000, 0, 4)).toBe(false);
  });
});
