import { type Fault, HITLESS } from '../fault.ts';
import type { Rig } from '../rig.ts';

/** Programs end and start again (R21). */
export const PROGRAM_FAULTS: readonly Fault[] = [
  {
    name: 'agents-term',
    requirement: 'R21',
    what: 'the agents of all nodes, one after the other, get SIGTERM and are started again',
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['programs', 'nodes'],
    inject: (rig) => inTurn(rig, async (node) => rig.terminateAgent(node)),
    heal: startAll,
  },
  {
    name: 'agents-kill',
    requirement: 'R21',
    what: 'the agents of all nodes, one after the other, get SIGKILL and are started again',
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['programs', 'nodes'],
    inject: (rig) => inTurn(rig, async (node) => rig.kill(`${node}/agent`)),
    heal: startAll,
  },
  {
    name: 'agents-replaced',
    requirement: 'R21',
    what: 'the agents of all nodes, one after the other, end and are started from another copy of the program',
    expected: { ...HITLESS, carrier: 'stays' },
    places: ['programs', 'nodes'],
    inject: (rig) => inTurn(rig, async (node) => rig.terminateAgent(node), true),
    heal: startAll,
  },
  ...(['charon', 'wireguard-go'] as const).flatMap((daemon): Fault[] => {
    const shared = {
      requirement: 'R21',
      expected: { traffic: 'returns', budgetMs: 3_000 },
      drivers: [daemon === 'charon' ? 'ipsec' : 'wireguard'],
      places: ['programs'],
    } as const;
    return [
      {
        ...shared,
        name: `${daemon}-killed`,
        what: `${daemon} of the gateway gets SIGKILL; its agent starts another`,
        inject: (rig, { carrier }) => rig.kill(`${carrier}/${daemon}`),
      },
      {
        ...shared,
        name: `${daemon}-killed-relay`,
        what: `${daemon} of a1, which relays between B and C, gets SIGKILL`,
        inject: (rig) => rig.kill(`a1/${daemon}`),
      },
    ];
  }),
];

async function inTurn(rig: Rig, end: (node: string) => Promise<void>, replaced = false): Promise<void> {
  for (const { name } of await rig.runningNodes()) {
    await end(name);
    await rig.startAgent(name, replaced);
  }
}

/** Also agents that died in the middle of a round that failed. */
async function startAll(rig: Rig): Promise<void> {
  for (const { name } of await rig.runningNodes()) await rig.start(`${name}/agent`);
}
