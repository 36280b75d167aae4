import { loadChoices } from '../agent/choice-file.ts';
import { diffKernel, formatChange } from '../domain/kernel-diff.ts';
import type { LocalFacts } from '../domain/facts.ts';
import { hasIpv6 } from '../domain/families.ts';
import { type NodePlan, VPN_DRIVERS, type WireguardPlan } from '../domain/node-plan.ts';
import { plan } from '../domain/plan.ts';
import { formatPlan } from '../domain/plan-text.ts';
import { buildSnapshot, regionOfNode, type Snapshot } from '../domain/snapshot.ts';
import { diffWireguard, EMPTY_DEVICE, formatWgChange, type WgGoal } from '../domain/wireguard-diff.ts';
import { hostExec } from '../drivers/exec/exec.ts';
import { formatConnection, planConnections } from '../drivers/ipsec/connection.ts';
import { observeFacts } from '../drivers/facts/local-facts.ts';
import { createKernel } from '../drivers/kernel.ts';
import { observeWireguard } from '../drivers/wireguard/wireguard-go.ts';
import { UserError } from '../lib/errors.ts';
import type { TunnelEndpoint } from '../api/tunnel-endpoint.ts';
import { openStore } from '../store/open-store.ts';

export interface PlanOptions {
  readonly store: string;
  readonly node: string;
  readonly output: string;
  readonly runDir: string;
  readonly forwardNodeIp?: boolean;
  readonly diff?: boolean;
}

/** @returns false when `--diff` found a difference */
export async function runPlan(options: PlanOptions, env: NodeJS.ProcessEnv): Promise<boolean> {
  const { store: storeText, node, output, runDir, forwardNodeIp = false, diff = false } = options;
  if (output !== 'text' && output !== 'json')
    throw new UserError([{ source: '-o', message: `${JSON.stringify(output)} is not known; there are: text, json` }]);
  const store = await openStore(storeText, { kube: { env } });
  try {
    const endpoints = await store.list('TunnelEndpoint');
    const snapshot = buildSnapshot(await store.list('Gateway'), endpoints);
    const known = snapshot.regions.flatMap(({ nodes }) => nodes.map(({ name }) => name));
    if (!known.includes(node)) {
      throw new UserError([
        {
          source: '--node',
          message: `${JSON.stringify(node)} is in no region; there are: ${known.join(', ') || 'none (has the controller run?)'}`,
        },
      ]);
    }
    const here = await factsOf(node, snapshot, endpoints, diff);
    // A tunnel that reports itself up counts as up: the plan then is the one that the agent carries out.
    const { links = [], standbyLinks = [] } = endpoints.find(({ metadata }) => metadata.name === node)?.status ?? {};
    const direct = [...links.filter(({ path }) => path === 'direct'), ...standbyLinks];
    const health = new Map(direct.map(({ peer, state }) => [peer, { up: state === 'Up', stuck: false }]));
    const pathMtus = new Map(
      links.flatMap(({ peer, path, mtu }) => (path === 'direct' && mtu !== undefined ? [[peer, mtu] as const] : [])),
    );
    // Those of this machine's agent say nothing about other nodes.
    const choices = diff ? (await loadChoices(runDir))?.choices : undefined;
    const result = plan({ node, snapshot, facts: { ...here, forwardNodeIp }, health, pathMtus, ...(choices && { choices }) });
    if (!diff) {
      process.stdout.write(
        output === 'json' ? `${JSON.stringify({ version: 1, node, ...result }, undefined, 2)}\n` : formatPlan(result, tunnelTexts(result)),
      );
      return true;
    }
    const changes = [...diffKernel(await createKernel(hostExec).observe(), result).map(formatChange), ...(await wireguardChanges(result))];
    process.stdout.write(
      output === 'json' ? `${JSON.stringify({ version: 1, node, changes }, undefined, 2)}\n` : changes.map((line) => `${line}\n`).join(''),
    );
    if (changes.length === 0) process.stderr.write('raven: the kernel is as planned\n');
    return changes.length === 0;
  } finally {
    await store.close();
  }
}

function tunnelTexts({ tunnels }: NodePlan): string[] {
  if (tunnels === undefined) return [];
  if (tunnels.driver === 'ipsec') return planConnections(tunnels).map(formatConnection);
  return diffWireguard(EMPTY_DEVICE, wireguardGoal(tunnels)).map(formatWgChange);
}

/** Without the keys, which are the agent's to know. */
function wireguardGoal(plan: WireguardPlan): WgGoal {
  return { plan, publicKey: undefined, presharedKeys: undefined, endpointsSet: new Map(), stuck: new Set() };
}

async function wireguardChanges({ tunnels }: NodePlan): Promise<string[]> {
  if (tunnels?.driver !== 'wireguard') return [];
  const device = await observeWireguard(hostExec, tunnels.dataPath);
  return diffWireguard(device ?? EMPTY_DEVICE, wireguardGoal(tunnels)).map(formatWgChange);
}

/** The facts of this machine when it is that node; otherwise what the node reported, and a device called UNDERLAY. */
async function factsOf(node: string, snapshot: Snapshot, endpoints: readonly TunnelEndpoint[], mustBeHere: boolean): Promise<LocalFacts> {
  const self = regionOfNode(snapshot, node)?.nodes.find(({ name }) => name === node);
  const report = endpoints.find(({ metadata }) => metadata.name === node)?.spec;
  const found = await observeFacts(hostExec, { nodeIp: self?.privateIp, subnets: self?.subnets ?? [], ipv6: hasIpv6(snapshot) });
  // A node that has not reported will do as the others.
  const driver = VPN_DRIVERS.find((name) => name === (report ?? endpoints[0]?.spec)?.driver) ?? 'ipsec';
  const vpn = { driver, dataPath: report?.dataPath ?? 'kernel' } as const;
  if (found.underlay !== undefined) return { ...found, ...vpn };
  const where = `no device of this machine has ${node}'s address ${self?.privateIp ?? ''}`;
  if (mustBeHere) throw new UserError([{ source: '--diff', message: `${where}: run it on that node` }]);
  process.stderr.write(`raven: ${where}; shown for a device UNDERLAY\n`);
  return {
    underlay: { dev: 'UNDERLAY', mtuBytes: report?.underlayMtu ?? 1500, prefixes: [] },
    hostSources: {},
    ipv6Forwarding: true,
    ...vpn,
  };
}
