import type { Clock } from '../../src/lib/clock.ts';

/** Time that passes from event to event and not between them. */
export interface VirtualClock extends Clock {
  /** Something was settled that others await: they are given their turn before the next event. */
  settle(): void;
  /** Calls what falls due until then, in order of time, and of calls to `after` where the time is the same. */
  runUntil(endMs: number): Promise<void>;
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

/** Epoch at which every history begins: 2026-01-01. */
const START_MS = Date.UTC(2026, 0, 1);

export function createVirtualClock(): VirtualClock {
  const heap: Event[] = [];
  let nowMs = START_MS;
  let order = 0;
  let isUnsettled = false;

  return {
    now: () => nowMs,
    settle: () => void (isUnsettled = true),
    after: (delayMs, callback) => {
      const event: Event = { atMs: nowMs + Math.max(delayMs, 0), order: order++, callback };
      push(heap, event);
      return () => void (event.callback = undefined);
    },
    runUntil: async (endMs) => {
      for (let next = heap[0]; next !== undefined && next.atMs <= endMs; next = heap[0]) {
        pop(heap);
        if (next.callback === undefined) continue;
        nowMs = next.atMs;
        next.callback();
        if (!isUnsettled) continue;
        isUnsettled = false;
        // Promises have no end that could be asked for; all of them run before the next turn of the event loop.
        await new Promise(setImmediate);
      }
      nowMs = Math.max(nowMs, endMs);
    },
  };
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function push(heap: Event[], event: Event): void {
  let at = heap.length;
  heap.push(event);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent]!;
    if (!isBefore(event, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    const below = heap[child]!;
    if (!isBefore(below, last)) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = last;
}
