import type { PathPlan } from '../domain/node-plan.ts';
import type { Echo } from '../drivers/probe/echo.ts';
import type { Ip } from '../net/ip.ts';
import type { EchoKeeper } from './echo-keeper.ts';

/** Measures the way to every peer. */
export interface Prober {
  /** What to measure and from which address. Cheap when nothing changed. */
  set(target: { address: Ip | undefined; peers: readonly PathPlan[] }): void;
  /** Smoothed round trip per peer in milliseconds; peers that did not answer lately are missing. */
  rtts(): ReadonlyMap<string, number>;
  /** One round trip in milliseconds with a request of `payloadBytes`; undefined when no answer came in time, or nothing can be asked now. */
  measure(address: Ip, timeoutMs: number, payloadBytes: number): Promise<number | undefined>;
  /** Called after each round of measurements. */
  onChange(listener: () => void): void;
  close(): Promise<void>;
}

const INTERVAL_MS = 10_000;
/** While a peer does not answer: it may come up at any moment. */
const UNANSWERED_INTERVAL_MS = 2_000;
const TIMEOUT_MS = 2_000;
const SAMPLES = 3;
/** Weight of a longer round trip (RFC 6298 §2 uses the same); a shorter one is believed at once, since nothing makes a path look shorter. */
const ALPHA = 1 / 8;

export function createProber(echoes: EchoKeeper): Prober {
  const rtts = new Map<string, number>();
  const listeners: (() => void)[] = [];
  let peers: readonly PathPlan[] = [];
  let known = '';
  let opening: Promise<void> = Promise.resolve();
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  async function measureAll(): Promise<void> {
    await Promise.all(peers.map(measure));
    for (const listener of listeners) listener();
    if (closed) return;
    clearTimeout(timer);
    const answered = peers.every(({ peer }) => rtts.has(peer));
    timer = setTimeout(() => void measureAll(), answered ? INTERVAL_MS : UNANSWERED_INTERVAL_MS);
  }

  async function measure({ peer, overlayIp }: PathPlan): Promise<void> {
    const echo = echoes.current();
    if (overlayIp === undefined || echo === undefined) return;
    const before = rtts.get(peer);
    const rttMs = await bestOf(echo, overlayIp, before !== undefined);
    if (rttMs === undefined) rtts.delete(peer);
    else rtts.set(peer, before === undefined || rttMs < before ? rttMs : before + ALPHA * (rttMs - before));
  }

  /** The smallest of a few: delays of the machines themselves only ever add. One that is lost is no verdict on a peer that answered before. */
  async function bestOf(through: Echo, overlayIp: Ip, answered: boolean): Promise<number | undefined> {
    let best: number | undefined;
    for (let i = 0; i < SAMPLES; i++) {
      const outcome = await through.probe(overlayIp, 0, TIMEOUT_MS);
      if (typeof outcome === 'object') best = Math.min(best ?? outcome.rttMs, outcome.rttMs);
      else if (!answered) return best;
    }
    return best;
  }

  return {
    set: (target) => {
      const text = JSON.stringify(target);
      if (text === known || closed) return;
      known = text;
      peers = target.peers;
      opening = opening.then(() => echoes.use(target.address)).then(measureAll);
    },
    rtts: () => rtts,
    measure: async (address, timeoutMs, payloadBytes) => {
      const outcome = await echoes.current()?.probe(address, 0, timeoutMs, payloadBytes);
      return typeof outcome === 'object' ? outcome.rttMs : undefined;
    },
    onChange: (listener) => void listeners.push(listener),
    close: async () => {
      closed = true;
      clearTimeout(timer);
      await opening;
      clearTimeout(timer);
    },
  };
}
