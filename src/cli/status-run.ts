import { type ClusterStatus, clusterStatus, type GatewayLine } from '../domain/cluster-status.ts';
import { UserError } from '../lib/errors.ts';
import { openStore } from '../store/open-store.ts';
import { formatAge } from './age.ts';
import { formatTable } from './table.ts';

export interface StatusOptions {
  readonly store: string;
  readonly output: string;
  /** Where agents keep their Leases. */
  readonly namespace: string;
}

/** @returns whether all is well */
export async function runStatus({ store: storeText, output, namespace }: StatusOptions, env: NodeJS.ProcessEnv): Promise<boolean> {
  if (output !== 'text' && output !== 'json')
    throw new UserError([{ source: '-o', message: `${JSON.stringify(output)} is not known; there are: text, json` }]);
  const store = await openStore(storeText, { kube: { env, namespaces: { Lease: namespace } } });
  try {
    // Not everybody who may look at Gateways may look at Leases.
    const leases = await store.list('Lease').catch(() => []);
    const status = clusterStatus(await store.list('Gateway'), await store.list('TunnelEndpoint'), leases);
    process.stdout.write(output === 'json' ? `${JSON.stringify(status, undefined, 2)}\n` : formatStatus(status, Date.now()));
    return status.ok;
  } finally {
    await store.close();
  }
}

/** The tables people read. */
export function formatStatus({ gateways, tunnels, warnings }: ClusterStatus, nowMs: number): string {
  const gatewayTable = formatTable(
    ['REGION', 'GATEWAY', 'STANDBY', 'NODES', 'DRIVER', 'DATA PATH', 'ADDRESSES', 'PEERS UP', 'HEARD'],
    gateways.map((each) => [
      each.name,
      each.active.map((node) => withState(node, each)).join(',') || '(none)',
      each.standby.map((node) => [withState(node, each), each.standbyPeers[node] ?? []].flat().join(' ')).join(', ') || '-',
      String(each.nodes),
      each.driver ?? '-',
      each.dataPath ?? '-',
      each.addresses.join(',') || '-',
      `${each.peersUp}/${each.peersTotal}`,
      each.active.map((node) => heardAge(each.heard[node], nowMs)).join(',') || '-',
    ]),
  );
  const tunnelTable = formatTable(
    ['FROM', 'TO', 'REGION', 'STATE', 'PATH', 'RTT', 'MTU', 'PEER SEEN AT', 'SINCE', 'REASON'],
    tunnels.map((each) => [
      each.from,
      each.peer,
      each.gateway,
      each.state,
      `${each.via === undefined ? 'direct' : `via ${each.via}`}${each.encryption === 'none' ? ', not encrypted' : ''}${each.carrier === undefined ? '' : `; carried by ${each.carrier}`}`,
      each.rttMs === undefined ? '-' : `${each.rttMs} ms`,
      each.mtu === undefined ? '-' : String(each.mtu),
      each.observed ?? '-',
      each.since === undefined ? '-' : formatAge(nowMs - Date.parse(each.since)),
      each.message ?? '',
    ]),
  );
  const warningLines = warnings.map(({ object, reason, message }) => `! ${object}: ${reason}: ${message}\n`).join('');
  return `${gatewayTable}\n${tunnels.length === 0 ? 'no tunnels\n' : tunnelTable}${warningLines === '' ? '' : `\n${warningLines}`}`;
}

/** `b1 (Draining)` */
function withState(node: string, { impaired }: GatewayLine): string {
  const against = impaired.find(({ nodeName, state }) => nodeName === node && state !== 'Recovered');
  return against === undefined ? node : `${node} (${against.state})`;
}

/** How long ago its agent renewed its Lease. */
function heardAge(renewed: string | undefined, nowMs: number): string {
  return renewed === undefined ? '-' : formatAge(Math.max(0, nowMs - Date.parse(renewed)));
}
