import { must, run } from '../../test/lab/harness.ts';
import type { Fault } from '../fault.ts';
import type { Rig } from '../rig.ts';

/** Outer addresses of B's router: before, and after it was given another. */
const OUTER = '198.51.100.2';
const OTHER_OUTER = '198.51.100.77';
/** R9 asks for two keepalives of 25 s. A side that calls notices by its own probes, before charon's DPD of 5 s. */
const REBINDING_BUDGET_MS = 3_000;
const BURST_MS = 10_000;
const LOSS_PERCENT = 20;

/** The network below changes or is bad (R9, R20). */
export const NETWORK_FAULTS: readonly Fault[] = [
  {
    name: 'nat-rebinding',
    requirement: 'R9',
    what: "the outer address of region B's router changes, and its connections are forgotten; later the first address is back",
    expected: { traffic: 'returns', budgetMs: REBINDING_BUDGET_MS, healingCosts: true },
    places: ['router'],
    inject: (rig) => setOuter(rig, OTHER_OUTER, OUTER),
    heal: (rig) => setOuter(rig, OUTER, OTHER_OUTER),
  },
  {
    name: 'loss-burst',
    requirement: 'R20',
    what: `${LOSS_PERCENT} % of what crosses region B's router is lost for ten seconds; 30 ms later as well, where the kernel can delay`,
    // Packets are lost as long as it lasts; that nobody moves for it is what counts.
    expected: { traffic: 'healed', carrier: 'stays' },
    places: ['router'],
    lastsMs: BURST_MS,
    inject: startLoss,
    heal: endLoss,
  },
];

async function setOuter(rig: Rig, to: string, from: string): Promise<void> {
  const router = rig.netns('router-b');
  await must(['ip', '-n', rig.netns('internet'), 'route', 'replace', `${to}/32`, 'dev', 'b']);
  await run(['ip', '-n', router, 'address', 'add', `${to}/32`, 'dev', 'wan']);
  const now = (await must(['ip', '-n', router, 'route', 'show', 'default'])).trim().split(/\s+/);
  const source = now.indexOf('src');
  const plain = source < 0 ? now : now.toSpliced(source, 2);
  await must(['ip', '-n', router, 'route', 'replace', ...plain, 'src', to]);
  await run(['ip', '-n', router, 'address', 'del', `${from}/32`, 'dev', 'wan']);
  await rig.in('router-b', ['conntrack', '-F']);
}

const LOSS = 'table inet chaos_loss';

async function startLoss(rig: Rig): Promise<void> {
  const netem = ['netem', 'delay', '30ms', '10ms', 'loss', `${LOSS_PERCENT}%`];
  const { code } = await run(['tc', '-n', rig.netns('router-b'), 'qdisc', 'replace', 'dev', 'wan', 'root', ...netem]);
  if (code === 0) return;
  // A kernel without netem loses packets, but delays none.
  const rule = `meta l4proto udp numgen random mod 100 < ${LOSS_PERCENT} drop;`;
  await rig.in('router-b', ['nft', '-f', '-'], `${LOSS} {\nchain forward { type filter hook forward priority -10; ${rule} }\n}\n`);
}

async function endLoss(rig: Rig): Promise<void> {
  await run(['tc', '-n', rig.netns('router-b'), 'qdisc', 'del', 'dev', 'wan', 'root']);
  await rig.in('router-b', ['nft', '-f', '-'], `${LOSS}\ndelete ${LOSS}\n`);
}
