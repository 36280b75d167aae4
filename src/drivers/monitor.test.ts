import { describe, expect, it, vi } from 'vitest';
import { become, samplePlan } from './kernel-conformance.ts';
import { watchKernel } from './monitor.ts';
import { classifyLine, type Touched } from './monitor-lines.ts';
import { createTestNetns } from './test-netns.ts';

describe('classifyLine', () => {
  it.each([
    ['4: raven0: <BROADCAST,MULTICAST> mtu 1400 qdisc noop state DOWN group 0 ', 'ours'],
    ['Deleted 5: rvn-b1@eth0: <NOARP> mtu 1400 qdisc noop state DOWN group 9027 ', 'ours'],
    ['6: raven-wg0: <POINTOPOINT,NOARP> mtu 1440 qdisc noop state DOWN group 9027 ', 'ours'],
    ['240.168.2.2 dev raven0 lladdr 02:00:00:00:00:02 PERMANENT ', 'ours'],
    ['Deleted 240.168.2.2 dev raven0 FAILED ', 'ours'],
    ['Deleted 192.0.2.2 dev raven0 lladdr 02:00:00:00:00:02 NOARP PERMANENT ', 'ours'],
    ['id 1381367809 via 240.168.2.2 dev u0 scope 253 proto 82 onlink ', 'ours'],
    ['Deleted 10.0.0.0/24 nhid 1381367809 via 240.168.2.2 dev u0 table 9027 proto 82 onlink ', 'ours'],
    ['Deleted 100:\tfrom all lookup 9027 proto 82', 'ours'],
    ['inet raven0 rp_filter strict ', 'ours'],
    ['delete table inet raven', 'ours'],
    ['add element inet raven remote4 { 10.77.0.0/16 }', 'ours'],
    ['3: u0@if7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue state UP group 0 ', 'underlay'],
    ['3: u0    inet 192.0.2.1/24 scope 0 u0', 'underlay'],
    ['Deleted 3: u0    inet 192.0.2.1/24 scope 0 u0', 'underlay'],
    ['240.168.2.2 dev raven0 lladdr 02:00:00:00:00:02 STALE ', undefined],
    ['192.0.2.9 dev u0 lladdr 02:00:00:00:00:02 REACHABLE ', undefined],
    ['    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff', undefined],
    ['       valid_lft forever preferred_lft forever', undefined],
    ['10.1.0.0/24 via 192.0.2.9 dev u0 ', undefined],
    ['id 77 blackhole ', undefined],
    ['inet all rp_filter strict ', undefined],
    ['100:\tfrom all lookup 254', undefined],
    ['add table inet raven2', undefined],
    ['add chain inet foo raven', undefined],
    ['# new generation 7 by process 2917 (nft)', undefined],
  ])('%s → %s', (line, kind) => {
    expect(classifyLine(line)).toBe(kind);
  });
});

describe.runIf(process.getuid?.() === 0)('watchKernel', () => {
  it('tells of hands on our objects and on the underlay, and ends its processes', async () => {
    const machine = await createTestNetns();
    const kinds: Touched[] = [];
    const monitor = watchKernel({ spawnArgvPrefix: machine.enter }, (kind) => kinds.push(kind));
    try {
      /** The listeners need a moment before they hear, so the hand moves again and again. */
      const expectTold = async (kind: Touched, ...scripts: string[]): Promise<void> => {
        kinds.length = 0;
        await vi.waitFor(
          async () => {
            for (const script of scripts) await machine.sh(script);
            expect(kinds).toContain(kind);
          },
          { timeout: 30_000, interval: 100 },
        );
      };
      await expectTold('underlay', 'ip addr add 192.0.2.77/32 dev u0', 'ip addr del 192.0.2.77/32 dev u0');
      await expectTold('ours', 'nft add table inet raven', 'nft delete table inet raven');
      await become(machine.kernel, samplePlan);
      await expectTold('ours', 'ip link set raven0 mtu 1333', 'ip link set raven0 mtu 1400');
      await expectTold('ours', 'sysctl -qw net.ipv4.conf.raven0.rp_filter=1', 'sysctl -qw net.ipv4.conf.raven0.rp_filter=2');
    } finally {
      await monitor.close();
      await machine.remove();
    }
  });

  it('tries again when a listener cannot run', async () => {
    const waits: (() => void)[] = [];
    const clock = { now: () => 0, after: (_: number, callback: () => void) => (waits.push(callback), () => undefined) };
    const monitor = watchKernel({ spawnArgvPrefix: ['/nonexistent'], clock }, () => undefined);
    await vi.waitFor(() => expect(waits.length).toBeGreaterThanOrEqual(2), { timeout: 30_000 });
    const failed = waits.length;
    waits[0]?.();
    await vi.waitFor(() => expect(waits.length).toBeGreaterThan(failed), { timeout: 30_000 });
    await monitor.close();
  });
});
