import type { IpsecPlan } from '../../domain/node-plan.ts';
import type { IpEndpoint } from '../../net/endpoint.ts';
import { parseIp } from '../../net/ip.ts';
import type { HeardAt, HeardFile } from '../tunnel/heard-file.ts';
import { callingConnection, type Connection, peerOfConnection } from './connection.ts';
import type { IkeSa } from './sas.ts';

/**
 * Tells peers, by a call, that the SAs which they have with us are of no use any more: charon is another one. Otherwise those whose turn it is to call
 * would see that only when we have not answered for a while.
 */
export interface Greetings {
  /** When a charon was started. */
  begin(nowMs: number): Promise<void>;
  end(): void;
  /** By peer: how to call it now; a peer behind a NAT is reached where it was heard last. Remembers where peers are, for a later time. */
  calls(
    plan: IpsecPlan,
    connections: readonly Connection[],
    ikeSas: readonly IkeSa[],
    nowMs: number,
  ): Promise<ReadonlyMap<string, Connection>>;
}

/** Then they have seen it for themselves. */
const DURATION_MS = 15_000;

export function createGreetings(heard: HeardFile): Greetings {
  /** Where those were that the charon before this one knew. */
  let toGreet: HeardAt = new Map();
  let untilMs = 0;
  return {
    async begin(nowMs) {
      toGreet = await heard.read();
      untilMs = nowMs + DURATION_MS;
    },
    end: () => void (untilMs = 0),
    async calls(plan, connections, ikeSas, nowMs) {
      await heard.note(
        new Map(ikeSas.flatMap(hearingOf)),
        connections.map(({ peer }) => peer),
      );
      if (nowMs >= untilMs) return new Map();
      return new Map(
        connections.flatMap((connection): [string, Connection][] => {
          const remote = connection.tunnel.remote ?? toGreet.get(connection.peer);
          return remote === undefined || connection.tunnel.initiate ? [] : [[connection.peer, callingConnection(plan, connection, remote)]];
        }),
      );
    },
  };
}

/** A peer that proved who it is, where its packets come from. */
function hearingOf({ name, state, remote }: IkeSa): [string, IpEndpoint][] {
  const peer = state === 'ESTABLISHED' ? peerOfConnection(name) : undefined;
  const ip = parseIp(remote?.ip ?? '');
  return peer === undefined || remote === undefined || ip === undefined ? [] : [[peer, { ip, port: remote.port }]];
}
