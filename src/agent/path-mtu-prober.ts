import type { PathPlan } from '../domain/node-plan.ts';
import { searchPathMtu } from '../domain/path-mtu.ts';
import type { TunnelState } from '../drivers/tunnel/tunnel-driver.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { familyOf, type Ip } from '../net/ip.ts';

/** Finds out how large packets may be that arrive at each peer, also where routers drop larger ones in silence (RFC 8899). */
export interface PathMtuProber {
  /** What to look at. A path that is new or has changed is searched at once; the others are only checked now and then. */
  set(paths: readonly PathPlan[], tunnels: readonly TunnelState[]): void;
  /** By peer, in bytes; peers that nothing is known of yet are missing. */
  found(): ReadonlyMap<string, number>;
  /** Searches all paths anew. */
  recheck(): void;
  /** Called when something new was found. */
  onChange(listener: () => void): void;
  close(): void;
}

export interface PathMtuParts {
  readonly measure: (address: Ip, timeoutMs: number, payloadBytes: number) => Promise<number | undefined>;
  readonly clock: Clock;
  readonly log: Logger;
}

export const noPathMtus: PathMtuProber = {
  set: () => undefined,
  found: () => new Map(),
  recheck: () => undefined,
  onChange: () => undefined,
  close: () => undefined,
};

/** How often it is made sure that packets of the size in use still pass. */
const CHECK_MS = 30_000;
/** How often larger ones are tried (RFC 8899 §5.1.1, PMTU_RAISE_TIMER). */
const RAISE_MS = 600_000;
/** A size is given up after so many misses (RFC 8899 §5.1.2, MAX_PROBES). */
const MAX_MISSES = 3;
/** Of pairs of a large and a small packet; more are lost only on a path that is down. */
const MAX_PAIRS = 8;
const TIMEOUT_MS = 2_000;
/** How much longer than the small one the large one may take: as long as some round trips, and never less than a busy machine needs. */
const GRACE_ROUND_TRIPS = 3;
const GRACE_MIN_MS = 250;
/** IP (RFC 791, RFC 8200 §3) and UDP. */
const HEADERS_BYTES = { 4: 20 + 8, 6: 40 + 8 } as const;
const SMALL_PAYLOAD_BYTES = 32;

interface PathState {
  /** What the search depends on: another address, or other sizes, and it begins anew. */
  readonly key: string;
  readonly gateway: string;
  readonly overlayIp: Ip;
  readonly sizes: readonly number[];
  bytes: number | undefined;
  searchedMs: number;
  isBusy: boolean;
  cancel: () => void;
}

export function createPathMtuProber({ measure, clock, log }: PathMtuParts): PathMtuProber {
  const states = new Map<string, PathState>();
  const listeners: (() => void)[] = [];
  let closed = false;

  function set(paths: readonly PathPlan[], tunnels: readonly TunnelState[]): void {
    const known = new Set(paths.map(({ peer }) => peer));
    const heritage = new Map([...states].filter(([peer]) => !known.has(peer)).map(([, { gateway, bytes }]) => [gateway, bytes]));
    for (const [peer, state] of states) if (!known.has(peer)) forget(peer, state);
    for (const { gateway, peer, overlayIp, probeSizes, isPlain } of paths) {
      const tunnel = tunnels.find((each) => each.peer === peer);
      if (overlayIp === undefined || probeSizes === undefined || closed || (isPlain !== true && tunnel?.state !== 'up')) continue;
      const key = JSON.stringify([overlayIp, probeSizes, isPlain === true ? 'plain' : tunnel?.remote]);
      const state = states.get(peer);
      if (state?.key === key) continue;
      // What was found stays in use until more is known: a NAT that takes another port, or another endpoint of the region, is seldom another path.
      const bytes = state?.bytes ?? heritage.get(gateway);
      if (state !== undefined) forget(peer, state);
      const searchedMs = Number.NEGATIVE_INFINITY;
      states.set(peer, { key, gateway, overlayIp, sizes: probeSizes, bytes, searchedMs, isBusy: false, cancel: () => undefined });
      void look(peer);
    }
  }

  function forget(peer: string, { cancel }: PathState): void {
    cancel();
    states.delete(peer);
  }

  /** Searches, or only checks what was found when that is not long ago. */
  async function look(peer: string): Promise<void> {
    const state = states.get(peer);
    if (state === undefined || state.isBusy || closed) return;
    state.isBusy = true;
    state.cancel();
    const { bytes, searchedMs } = state;
    const isFresh = bytes !== undefined && clock.now() - searchedMs < RAISE_MS;
    const result = isFresh && (await passes(state, bytes)) !== false ? bytes : await search(state);
    state.isBusy = false;
    if (closed || states.get(peer) !== state) return;
    state.cancel = clock.after(CHECK_MS, () => void look(peer));
    if (result === undefined || result === bytes) return;
    state.bytes = result;
    if (bytes !== undefined || result !== state.sizes[0]) log.info({ peer, mtu: result, before: bytes }, 'the MTU of the path to a peer');
    for (const listener of listeners) listener();
  }

  async function search(state: PathState): Promise<number | undefined> {
    const found = await searchPathMtu(state.sizes, (bytes) => passes(state, bytes));
    if (found !== undefined) state.searchedMs = clock.now();
    return found;
  }

  /** A miss counts only when a small packet sent with it was answered: loss, and a path that is down, say nothing about sizes. */
  async function passes({ overlayIp }: PathState, bytes: number): Promise<boolean | undefined> {
    let misses = 0;
    for (let pairs = 0; pairs < MAX_PAIRS && !closed; pairs++) {
      const large = measure(overlayIp, TIMEOUT_MS, bytes - HEADERS_BYTES[familyOf(overlayIp)]);
      const smallMs = await measure(overlayIp, TIMEOUT_MS, SMALL_PAYLOAD_BYTES);
      const largeMs = smallMs === undefined ? await large : await within(large, Math.max(GRACE_MIN_MS, GRACE_ROUND_TRIPS * smallMs));
      if (largeMs !== undefined) return true;
      if (smallMs !== undefined && ++misses === MAX_MISSES) return false;
    }
    return undefined;
  }

  function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
    return new Promise((resolve) => {
      const cancel = clock.after(ms, () => resolve(undefined));
      void promise.then((value) => {
        cancel();
        resolve(value);
      });
    });
  }

  function recheck(): void {
    for (const [peer, state] of states) {
      state.searchedMs = Number.NEGATIVE_INFINITY;
      void look(peer);
    }
  }

  return {
    set,
    found: () => new Map([...states].flatMap(([peer, { bytes }]) => (bytes === undefined ? [] : [[peer, bytes] as const]))),
    recheck,
    onChange: (listener) => void listeners.push(listener),
    close: () => {
      closed = true;
      for (const { cancel } of states.values()) cancel();
    },
  };
}
