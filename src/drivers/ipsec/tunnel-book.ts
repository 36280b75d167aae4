import type { Clock } from '../../lib/clock.ts';
import type { ViciMessage } from '../../net/vici.ts';
import { createChangeNotice } from '../tunnel/change-notice.ts';
import type { TunnelState } from '../tunnel/tunnel-driver.ts';
import type { Connection } from './connection.ts';
import { reasonOf } from './reasons.ts';
import type { IkeSa } from './sas.ts';
import { describeTunnels, remember, type TunnelMemory } from './tunnel-state.ts';

/** What is to be said of the tunnels: from charon's SAs, and from what it said of calls that led to none. */
export interface TunnelBook {
  /** Takes in a `log` event. */
  hear(event: ViciMessage): void;
  /** The state of each planned tunnel, in order of peer. */
  describe(
    view: { readonly connections: readonly Connection[]; readonly localPort: number },
    ikeSas: readonly IkeSa[],
  ): readonly TunnelState[];
  clear(): void;
}

export interface TunnelBookParts {
  readonly clock: Clock;
  /** Something else may have to be said at that time (epoch milliseconds), though no event comes then. */
  readonly lookAgain: (atMs: number) => void;
  /** Something else is said. */
  readonly onChange: () => void;
}

/** After an event: others of the same moment are still to come. */
export const QUIET_MS = 100;

export function createTunnelBook({ clock, lookAgain, onChange }: TunnelBookParts): TunnelBook {
  const noticeChange = createChangeNotice(onChange);
  let memory: ReadonlyMap<string, TunnelMemory> = new Map();
  return {
    // Calls that are refused, or not answered, are no event to charon.
    hear(event) {
      const reason = reasonOf(event);
      if (reason === undefined) return;
      const nowMs = clock.now();
      const old = memory.get(reason.peer);
      const next = remember(old, reason, nowMs);
      memory = new Map(memory).set(reason.peer, next);
      if (next.refusal !== old?.refusal || next.callingSinceMs !== old?.callingSinceMs) lookAgain(nowMs + QUIET_MS);
    },
    describe(view, ikeSas) {
      const described = describeTunnels(view, ikeSas, memory, clock.now());
      memory = described.memory;
      if (described.againAtMs !== undefined) lookAgain(described.againAtMs);
      noticeChange(described.states);
      return described.states;
    },
    clear: () => void (memory = new Map()),
  };
}
