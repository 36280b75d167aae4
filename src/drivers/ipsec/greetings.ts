import type { IpsecPlan } from '../../domain/node-plan.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
import { callingConnection, type Connection, peerOfConnection } from './connection.ts';
import type { IkeSa } from './sas.ts';

/**
 * Tells peers, by a call, that the SAs which they have with us are of no use any more: charon crashed. Otherwise those whose turn it is to call
 * would see that only when we have not answered for a while.
 */
export interface Greetings {
  begin(nowMs: number): void;
  end(): void;
  /** By peer: how to call it now. Remembers where peers are, for a later time; a peer behind a NAT is reached where it was heard last. */
  calls(plan: IpsecPlan, connections: readonly Connection[], ikeSas: readonly IkeSa[], nowMs: number): ReadonlyMap<string, Connection>;
}

/** Then they have seen it for themselves. */
const DURATION_MS = 15_000;

export function createGreetings(): Greetings {
  let heardAt: ReadonlyMap<string, { readonly ip: Ip; readonly port: number }> = new Map();
  let untilMs = 0;
  return {
    begin: (nowMs) => void (untilMs = nowMs + DURATION_MS),
    end: () => void (untilMs = 0),
    calls(plan, connections, ikeSas, nowMs) {
      if (nowMs >= untilMs) {
        heardAt = new Map(ikeSas.flatMap(hearingOf));
        return new Map();
      }
      return new Map(
        connections.flatMap((connection): [string, Connection][] => {
          const remote = connection.tunnel.remote ?? heardAt.get(connection.peer);
          return remote === undefined || connection.tunnel.initiate ? [] : [[connection.peer, callingConnection(plan, connection, remote)]];
        }),
      );
    },
  };
}

function hearingOf({ name, remote }: IkeSa): [string, { ip: Ip; port: number }][] {
  const peer = peerOfConnection(name);
  const ip = parseIp(remote?.ip ?? '');
  return peer === undefined || remote === undefined || ip === undefined ? [] : [[peer, { ip, port: remote.port }]];
}
