import { readFileSync } from 'node:fs';
import { VXLAN_DEVICE } from '../../api/names.ts';
import { isTunnelDevice, parseNetDev } from '../facts/net-dev.ts';

/** Notices whether packets other than our own probes pass our devices. */
export interface TrafficMeter {
  /** @param ownPackets probes and answers so far, in and out */
  isBusy(ownPackets: number): boolean;
}

/** Slower than this counts as idle: what probes of others may come to. */
const PACKETS_PER_S = 8;
const WINDOW_MS = 1_000;
/** Flows pause. */
const BUSY_MS = 10_000;

/** One read of `/proc/net/dev` (`proc(5)`), however many devices there are. */
export function createTrafficMeter(
  now: () => number = Date.now,
  read: () => string = () => readFileSync('/proc/net/dev', 'utf8'),
): TrafficMeter {
  let last = { atMs: now(), foreign: Number.NaN };
  let busyUntilMs = 0;
  return {
    isBusy: (ownPackets) => {
      const atMs = now();
      const foreign = countPackets(read()) - ownPackets;
      const elapsedMs = atMs - last.atMs;
      if ((foreign - last.foreign) * 1000 >= PACKETS_PER_S * Math.max(elapsedMs, WINDOW_MS)) busyUntilMs = atMs + BUSY_MS;
      if (elapsedMs >= WINDOW_MS || Number.isNaN(last.foreign)) last = { atMs, foreign };
      return atMs < busyUntilMs;
    },
  };
}

function countPackets(text: string): number {
  return parseNetDev(text)
    .filter(({ name }) => name === VXLAN_DEVICE || isTunnelDevice(name))
    .reduce((sum, { received, sent, dropped }) => sum + received + sent + dropped, 0);
}
