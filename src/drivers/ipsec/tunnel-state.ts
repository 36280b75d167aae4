import { formatIpPort } from '../../net/ip.ts';
import type { TunnelState } from '../tunnel/tunnel-driver.ts';
import type { Connection } from './connection.ts';
import type { Reason } from './reasons.ts';
import { type IkeSa, isCarrying } from './sas.ts';

/** What is remembered of one tunnel between two looks. */
export interface TunnelMemory {
  readonly up: boolean;
  /** When `up` became what it is. */
  readonly sinceMs: number;
  /** The first call that has not been answered yet. */
  readonly callingSinceMs?: number;
  readonly refusal?: string;
}

/** So long nobody says that a call got no answer: an answer takes one round trip, a lost packet one second more. */
const PATIENCE_MS = 3_000;

/** The state of each planned tunnel, in order of peer, and what to remember. `againAtMs`: when something else is to be said although nothing happened. Pure. */
export function describeTunnels(
  { connections, localPort }: { readonly connections: readonly Connection[]; readonly localPort: number },
  ikeSas: readonly IkeSa[],
  memory: ReadonlyMap<string, TunnelMemory>,
  nowMs: number,
): { states: TunnelState[]; memory: Map<string, TunnelMemory>; againAtMs: number | undefined } {
  const rows = connections.map((connection) => describe(connection, ikeSas, memory.get(connection.peer), nowMs, localPort));
  const silentAtMs = rows
    .flatMap(({ remember: { callingSinceMs } }) => (callingSinceMs === undefined ? [] : [callingSinceMs + PATIENCE_MS]))
    .filter((atMs) => atMs > nowMs);
  return {
    states: rows.map(({ state }) => state),
    memory: new Map(rows.map(({ state, remember }) => [state.peer, remember])),
    againAtMs: silentAtMs.length === 0 ? undefined : Math.min(...silentAtMs),
  };
}

/** Takes in what charon said. */
export function remember(old: TunnelMemory | undefined, { kind, text }: Reason, nowMs: number): TunnelMemory {
  const { callingSinceMs, refusal, ...rest } = old ?? { up: false, sinceMs: nowMs };
  switch (kind) {
    case 'calling':
    case 'silent':
      return { ...rest, callingSinceMs: callingSinceMs ?? nowMs, ...(kind === 'calling' && refusal !== undefined && { refusal }) };
    case 'refused':
      return { ...rest, ...(text !== undefined && { refusal: text }) };
    case 'cleared':
      // The IKE_SA is there; whether the CHILD_SA is refused comes after this.
      return rest;
  }
}

function describe(
  { peer, name, tunnel }: Connection,
  ikeSas: readonly IkeSa[],
  old: TunnelMemory | undefined,
  nowMs: number,
  localPort: number,
): { state: TunnelState; remember: TunnelMemory } {
  const own = ikeSas.filter((sa) => sa.name === name).toSorted((a, b) => b.id - a.id);
  const carrying = own
    .flatMap((sa) => sa.children.filter(isCarrying).map((child) => ({ sa, child })))
    .toSorted((a, b) => b.child.id - a.child.id)[0];
  if (carrying !== undefined) {
    const { sa, child } = carrying;
    // An SA that was there before us: as far back as charon tells.
    const sinceMs =
      old?.up === true ? old.sinceMs : old === undefined ? nowMs - 1000 * Math.max(sa.establishedS ?? 0, child.installedS) : nowMs;
    const remote = sa.remote ?? tunnel.remote;
    const state: TunnelState = {
      peer,
      state: 'up',
      sinceMs,
      bytesIn: child.bytesIn,
      bytesOut: child.bytesOut,
      ...(remote !== undefined && { remote }),
    };
    return { state, remember: { up: true, sinceMs } };
  }
  const sinceMs = old?.up === false ? old.sinceMs : nowMs;
  const memory: TunnelMemory = { ...old, up: false, sinceMs };
  const heard = own.find(({ state }) => state === 'ESTABLISHED')?.remote;
  const state: TunnelState = {
    peer,
    state: own.length > 0 || tunnel.initiate ? 'connecting' : 'down',
    sinceMs,
    ...(heard !== undefined && { remote: heard }),
    message: explain(tunnel, memory, nowMs, localPort),
  };
  return { state, remember: memory };
}

/** Without the time that it lasts, which is told as `since`: a message that grows older would be written, and sent to all gateways, again and again. */
function explain(
  { peer, remote, initiate }: Connection['tunnel'],
  { refusal, callingSinceMs }: TunnelMemory,
  nowMs: number,
  localPort: number,
): string {
  if (refusal !== undefined) return refusal;
  if (!initiate) {
    const from = remote === undefined ? 'it' : `it (${remote.ip})`;
    return `no handshake: ${peer} has to call, and nothing from ${from} is seen on UDP port ${localPort}; is that port open here, and on the way?`;
  }
  const where = remote === undefined ? peer : `${formatIpPort(remote.ip, remote.port)}/udp`;
  const silentMs = callingSinceMs === undefined ? 0 : nowMs - callingSinceMs;
  return silentMs < PATIENCE_MS ? `calling ${where}` : `no handshake: no answer from ${where}; is that port open there, and on the way?`;
}
