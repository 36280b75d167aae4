import { CONTROL_IP } from '../../src/lab/plan/control.ts';
import { FAILOVER, type Fault, HITLESS } from '../fault.ts';
import type { Rig } from '../rig.ts';

/** A move between two endpoints that are well. */
const MOVE_BUDGET_MS = 1_000;

/** Life without the API server, and without those that speak through it (R22). */
export const API_FAULTS: readonly Fault[] = [
  {
    name: 'api-cut',
    requirement: 'R22',
    what: "packets between region B and the API server vanish on B's router, for as long as --cut says",
    expected: { ...HITLESS, carrier: 'stays' },
    stores: ['kube'],
    places: ['api'],
    lastsMs: 'cut',
    inject: (rig) => cutApi(rig, 'drop'),
    heal: restoreApi,
  },
  {
    name: 'api-refused',
    requirement: 'R22',
    what: "connections between region B and the API server are reset by B's router, for as long as --cut says",
    expected: { ...HITLESS, carrier: 'stays' },
    stores: ['kube'],
    places: ['api'],
    lastsMs: 'cut',
    inject: (rig) => cutApi(rig, 'reject with tcp reset'),
    heal: restoreApi,
  },
  {
    name: 'api-cut-gateway-loss',
    requirement: 'R22',
    what: 'the API is cut from region B; after half of the time the gateway loses power',
    expected: FAILOVER,
    stores: ['kube'],
    places: ['api', 'nodes', 'uplink', 'programs', 'kernel'],
    lastsMs: 'cut',
    async inject(rig, { carrier, cutMs }) {
      await cutApi(rig, 'drop');
      await new Promise((resolve) => setTimeout(resolve, cutMs / 2));
      await rig.kill(carrier);
    },
    async heal(rig, { carrier }) {
      await restoreApi(rig);
      await rig.start(carrier);
    },
  },
  {
    name: 'api-cut-agent-killed',
    requirement: 'R22',
    what: "the API is cut from region B; the gateway's agent gets SIGKILL and starts from its disk",
    expected: { ...HITLESS, carrier: 'stays' },
    stores: ['kube'],
    places: ['api', 'programs'],
    async inject(rig, { carrier }) {
      await cutApi(rig, 'drop');
      await rig.kill(`${carrier}/agent`);
      await rig.startAgent(carrier);
    },
    async heal(rig, { carrier }) {
      await restoreApi(rig);
      await rig.start(`${carrier}/agent`);
    },
  },
  {
    name: 'api-cut-all-killed',
    requirement: 'R22',
    what: "the API is cut from region B; the gateway's agent and VPN daemon get SIGKILL and start from the disk",
    // Peers back from the disk.
    expected: { traffic: 'returns', budgetMs: 5_000 },
    stores: ['kube'],
    places: ['api', 'programs'],
    async inject(rig, { carrier }) {
      await cutApi(rig, 'drop');
      await rig.kill(`${carrier}/agent`);
      await rig.kill(`${carrier}/${rig.daemon}`);
      await rig.startAgent(carrier);
    },
    async heal(rig, { carrier }) {
      await restoreApi(rig);
      await rig.start(`${carrier}/agent`);
    },
  },
  {
    name: 'controller-dead',
    requirement: 'R22',
    what: 'the controller is dead, and the gateway loses power',
    expected: FAILOVER,
    places: ['controller', 'nodes', 'uplink', 'programs', 'kernel'],
    async inject(rig, { carrier }) {
      await rig.kill('controller');
      await rig.kill(carrier);
    },
    async heal(rig, { carrier }) {
      await rig.start('controller');
      await rig.start(carrier);
    },
  },
  {
    name: 'region-not-ready',
    requirement: 'R22',
    what: 'the heartbeats of all nodes of region B stop, while its agents are still heard',
    // The first node that turns NotReady is left for one that still is Ready; then nobody moves any more.
    expected: { traffic: 'returns', budgetMs: MOVE_BUDGET_MS },
    places: ['kubelets', 'nodes'],
    // The lab's nodes turn NotReady after 4 s; the controller must have seen that, and decided.
    lastsMs: 12_000,
    inject: (rig) => Promise.all(rig.nodesOf('b').map((node) => rig.kill(`${node}/kubelet`))),
    heal: (rig) => Promise.all(rig.nodesOf('b').map((node) => rig.start(`${node}/kubelet`))),
  },
];

const TABLE = 'table inet chaos_api';

async function cutApi(rig: Rig, verdict: string): Promise<void> {
  const rules = ['daddr', 'saddr'].map((side) => `ip ${side} ${CONTROL_IP} meta l4proto tcp ${verdict}; `);
  // Whatever their state: connections that stand are cut as well.
  const chain = `chain forward { type filter hook forward priority -10; ${rules.join('')}}`;
  await rig.in('router-b', ['nft', '-f', '-'], `${TABLE} {\n${chain}\n}\n`);
}

async function restoreApi(rig: Rig): Promise<void> {
  await rig.in('router-b', ['nft', '-f', '-'], `${TABLE}\ndelete ${TABLE}\n`);
}
