import type { WireguardPlan, WireguardTunnel } from '../../domain/node-plan.ts';
import { compareText } from '../../lib/compare.ts';
import { formatEndpoint } from '../../net/endpoint.ts';
import type { WgDevice, WgPeer } from '../../net/wg-dump.ts';
import type { TunnelState } from '../tunnel/tunnel-driver.ts';

/** What is remembered of one peer between two looks. */
export interface PeerMemory {
  readonly up: boolean;
  /** When `up` became what it is. */
  readonly sinceMs: number;
  readonly rxBytes: number;
  /** When bytes from the peer were last seen to have come in. */
  readonly heardMs: number;
  /** What had been sent by then. */
  readonly sentByThen: number;
  /** Since when something is sent that the peer would have answered. */
  readonly unansweredSinceMs?: number;
  /** Since when its handshakes come in without one being completed, and when the last one did. */
  readonly knocking?: { readonly sinceMs: number; readonly lastMs: number };
  /** It fell silent at this time, and has not proved the way back since. */
  readonly silentAtMs?: number;
}

export interface PeerView {
  /** In order of peer. */
  readonly states: readonly TunnelState[];
  readonly memory: ReadonlyMap<string, PeerMemory>;
  /** Peers that have been down for so long that the address where they were last seen is worth nothing. */
  readonly stuck: ReadonlySet<string>;
}

/** Session keys are of no use any more after this (whitepaper §6.1, REJECT_AFTER_TIME). */
const SESSION_MS = 180_000;
/** A peer that got something answers within 10 s (KEEPALIVE_TIMEOUT), by an empty packet if by nothing else. */
const SILENT_MS = 12_000;
/** A peer that calls does so each 5 s, and after 90 s in vain at its next keepalive or packet. */
const KNOCK_PAUSE_MS = 30_000;
/** A handshake initiation, what a peer sends who does not hear us. Packets with contents are a multiple of 16 long. */
const INITIATION_BYTES = 148;
/** An empty packet: a keepalive, which nobody answers. */
const KEEPALIVE_BYTES = 32;
/** Two keepalives of a peer that sends one each 25 s, and some. */
const UNHEARD_MS = 60_000;
/** Down for so long: what should have come back has not. */
const STUCK_MS = 15_000;
/** So long nobody says that a call got no answer: an answer takes one round trip, a lost handshake is repeated after 5 s. */
const PATIENCE_MS = 6_000;

/**
 * The state of each planned tunnel, and what to remember. WireGuard itself has no such notion: it is told from handshakes and counters. Pure.
 *
 * @param device undefined while there is none
 */
export function describePeers(
  plan: WireguardPlan,
  device: WgDevice | undefined,
  memory: ReadonlyMap<string, PeerMemory>,
  nowMs: number,
): PeerView {
  const peers = new Map(device?.peers.map((peer) => [peer.publicKey, peer]));
  const rows = plan.tunnels
    .toSorted((a, b) => compareText(a.peer, b.peer))
    .map((tunnel) => {
      const peer = peers.get(tunnel.publicKey);
      const next = rememberPeer(tunnel, peer, memory.get(tunnel.peer), nowMs);
      return { tunnel, next, state: describe(tunnel, peer, next, { nowMs, localPort: plan.localPort, hasDevice: device !== undefined }) };
    });
  return {
    states: rows.map(({ state }) => state),
    memory: new Map(rows.map(({ tunnel, next }) => [tunnel.peer, next])),
    stuck: new Set(rows.filter(({ next }) => !next.up && nowMs - next.sinceMs > STUCK_MS).map(({ tunnel }) => tunnel.peer)),
  };
}

function rememberPeer(tunnel: WireguardTunnel, peer: WgPeer | undefined, old: PeerMemory | undefined, nowMs: number): PeerMemory {
  const { rxBytes = 0, txBytes = 0, latestHandshakeS = 0 } = peer ?? {};
  const handshakeMs = latestHandshakeS * 1000;
  const received = rxBytes - (old?.rxBytes ?? 0);
  const isKnock = old !== undefined && received > 0 && received % INITIATION_BYTES === 0 && received / INITIATION_BYTES <= 3;
  const heard = old === undefined || (received !== 0 && !isKnock);
  const heardMs = heard ? nowMs : old.heardMs;
  const sentByThen = heard ? txBytes : old.sentByThen;
  const isUnanswered = !heard && txBytes - sentByThen >= INITIATION_BYTES;
  const unansweredSinceMs = isUnanswered ? (old.unansweredSinceMs ?? nowMs) : undefined;
  const hasProved = (heard && received > KEEPALIVE_BYTES) || handshakeMs > (old?.silentAtMs ?? nowMs);
  const fellSilent = unansweredSinceMs !== undefined && nowMs - unansweredSinceMs >= SILENT_MS;
  // Its keepalives may still come in while nothing of ours gets there: only contents or a new handshake tell that both ways are open.
  const silentAtMs = fellSilent ? (old?.silentAtMs ?? nowMs) : hasProved ? undefined : old?.silentAtMs;
  const isUnheard = tunnel.peerKeepsAlive && nowMs - heardMs > UNHEARD_MS;
  // Where nobody keeps it alive, an idle tunnel has no session and comes back with the first packet.
  const rests = !tunnel.peerKeepsAlive && tunnel.keepaliveS === 0;
  const up = latestHandshakeS > 0 && (nowMs - handshakeMs <= SESSION_MS || rests) && silentAtMs === undefined && !isUnheard;
  const knocking = up ? undefined : knock(old?.knocking, isKnock, nowMs);
  return {
    up,
    sinceMs: old?.up === up ? old.sinceMs : old === undefined && up ? handshakeMs : nowMs,
    rxBytes,
    heardMs,
    sentByThen,
    ...(unansweredSinceMs !== undefined && { unansweredSinceMs }),
    ...(knocking !== undefined && { knocking }),
    ...(silentAtMs !== undefined && { silentAtMs }),
  };
}

function knock(old: PeerMemory['knocking'], isKnock: boolean, nowMs: number): PeerMemory['knocking'] {
  if (isKnock) return { sinceMs: old?.sinceMs ?? nowMs, lastMs: nowMs };
  return old !== undefined && nowMs - old.lastMs > KNOCK_PAUSE_MS ? undefined : old;
}

interface Circumstances {
  readonly nowMs: number;
  readonly localPort: number;
  readonly hasDevice: boolean;
}

function describe(tunnel: WireguardTunnel, peer: WgPeer | undefined, memory: PeerMemory, here: Circumstances): TunnelState {
  const { up, sinceMs } = memory;
  const heardAt = (peer?.rxBytes ?? 0) > 0 ? peer?.endpoint : undefined;
  return {
    peer: tunnel.peer,
    state: up ? 'up' : tunnel.remote === undefined ? 'down' : 'connecting',
    sinceMs,
    ...(heardAt !== undefined && { remote: heardAt }),
    ...(peer !== undefined && { bytesIn: peer.rxBytes, bytesOut: peer.txBytes }),
    ...(!up && { message: explain(tunnel, peer, memory, here) }),
  };
}

function explain(
  { peer: name, remote }: WireguardTunnel,
  peer: WgPeer | undefined,
  { sinceMs, knocking }: PeerMemory,
  { nowMs, localPort, hasDevice }: Circumstances,
): string {
  if (!hasDevice) return 'the WireGuard device is missing';
  if (knocking !== undefined && nowMs - knocking.sinceMs >= PATIENCE_MS)
    return `no handshake: ${name} calls and none is completed: the pre-shared key (--psk-file) differs on one side, or our answers do not get there`;
  const waitedMs = nowMs - sinceMs;
  if (remote === undefined)
    return `no handshake: ${name} has to call, and nothing from it is seen on UDP port ${localPort}; is that port open here, and on the way?`;
  const where = `${formatEndpoint(peer?.endpoint ?? remote)}/udp`;
  if ((peer?.txBytes ?? 0) === 0) return `no handshake yet: nothing has been sent to ${name} at ${where}`;
  if (waitedMs < PATIENCE_MS) return `calling ${where}`;
  const silence = `no answer from ${where}`;
  if ((peer?.latestHandshakeS ?? 0) > 0) return silence;
  return `no handshake: ${silence}; is that port open there, and on the way? A wrong pre-shared key (--psk-file) on one side would look the same`;
}
