import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { decodeStatement, type LaneStatement } from '../domain/probe-flags.ts';
import type { Choices } from '../domain/reroute-state.ts';
import type { Watch } from '../domain/reroute-view.ts';
import { endpoint } from '../domain/test-reroute.ts';
import type { Responder } from '../drivers/probe/echo.ts';
import { createTestClock } from '../lib/test-clock.ts';
import { type Ip, parseIp } from '../net/ip.ts';
import type { EchoKeeper } from './echo-keeper.ts';
import { createLookout } from './lookout.ts';

const ip = (text: string): Ip => parseIp(text)!;
const AT = { b1: ip('192.168.1.11'), b2: ip('192.168.1.12'), b3: ip('192.168.1.13') } as const;

/** An agent of `node` that an earlier one left these choices; nobody answers its probes. */
function restarted(node: 'b1' | 'b3', choices: Choices) {
  const clock = createTestClock();
  let respond: Responder = () => 0;
  const keeper: EchoKeeper = {
    use: async () => undefined,
    current: () => undefined,
    respond: () => undefined,
    close: async () => undefined,
  };
  const lookout = createLookout({
    overlay: keeper,
    tunnels: keeper,
    lan: { ...keeper, respond: (responder) => void (respond = responder) },
    openCaller: () => Promise.reject(new Error('nobody there')),
    isBusy: () => true,
    received: async () => new Map(),
    onSilence: () => undefined,
    kept: { choices, orders: new Map([['exit/b', { live: 'b1 b3', sinceMs: 0 }]]) },
    keep: () => undefined,
    onReroute: () => undefined,
    clock,
    log: pino({ level: 'silent' }),
  });
  const watch: Watch = {
    view: endpoint(node),
    address: undefined,
    probeIp: undefined,
    lan: new Map(),
    tunnel: new Map(),
    through: new Map(),
    nodes: new Map(Object.entries(AT).map(([name, address]) => [address, name])),
    regionOf: new Map(),
  };
  lookout.set(watch);
  const saysTo = (name: keyof typeof AT): LaneStatement | undefined => decodeStatement(respond(AT[name], 0) ?? 0)?.lanes[0];
  return { lookout, clock, saysTo };
}

describe('what an agent answers on the LAN', () => {
  it('after a restart: nothing of who carries, until it could hear whether another one took over', async () => {
    const { lookout, clock, saysTo } = restarted('b1', { exits: ['b1'], entry: new Map() });
    expect(saysTo('b2')?.stance).toBeUndefined();
    clock.advance(1_000);
    expect(saysTo('b2')?.stance).toBe('carries');
    await lookout.close();
  });

  it('tells the endpoint that it sends packets to, and nobody else, that it does', async () => {
    const { lookout, saysTo } = restarted('b3', { exits: ['b1'], entry: new Map() });
    expect([saysTo('b1')?.uses, saysTo('b2')?.uses]).toEqual([true, false]);
    await lookout.close();
  });
});
