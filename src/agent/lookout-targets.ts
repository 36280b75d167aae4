import type { ProbeKind } from '../domain/reroute-state.ts';
import type { Watch } from '../domain/reroute-view.ts';
import type { Ip } from '../net/ip.ts';

/** An endpoint that a lookout probes. */
export interface Target {
  readonly kind: ProbeKind;
  readonly name: string;
  readonly ip: Ip;
  /** When the next probe is to be sent (epoch milliseconds). */
  dueMs: number;
  /** Smoothed; 0 before the first answer. */
  rttMs: number;
}

export function targetsOf({ lan, tunnel, through }: Watch): Target[] {
  const of = (kind: ProbeKind, all: ReadonlyMap<string, Ip>): Target[] =>
    [...all].map(([name, ip]) => ({ kind, name, ip, dueMs: 0, rttMs: 0 }));
  return [...of('lan', lan), ...of('tunnel', tunnel), ...of('through', through)];
}

/** Equal for the same endpoint, asked in the same way at the same address. */
export function keyOf({ kind, name, ip }: Target): string {
  return `${kind} ${name} ${ip}`;
}

/** Equal where nothing is to be watched otherwise. */
export function fingerprint(watch: Watch): string {
  const { view, address, probeIp, nodes } = watch;
  return JSON.stringify([view, [...view.lanes], address, probeIp, [...nodes], targetsOf(watch).map(keyOf)]);
}
