import { type ClusterStatus, clusterStatus } from '../domain/cluster-status.ts';
import { UserError } from '../lib/errors.ts';
import { openStore } from '../store/open-store.ts';
import { formatAge } from './age.ts';
import { formatTable } from './table.ts';

/** @returns whether all is well */
export async function runStatus({ store: storeText, output }: { store: string; output: string }, env: NodeJS.ProcessEnv): Promise<boolean> {
  if (output !== 'text' && output !== 'json')
    throw new UserError([{ source: '-o', message: `${JSON.stringify(output)} is not known; there are: text, json` }]);
  const store = await openStore(storeText, { kube: { env } });
  try {
    const status = clusterStatus(await store.list('Gateway'), await store.list('TunnelEndpoint'));
    process.stdout.write(output === 'json' ? `${JSON.stringify(status, undefined, 2)}\n` : formatStatus(status, Date.now()));
    return status.ok;
  } finally {
    await store.close();
  }
}

/** The tables people read. */
export function formatStatus({ gateways, tunnels, warnings }: ClusterStatus, nowMs: number): string {
  const gatewayTable = formatTable(
    ['REGION', 'GATEWAY', 'STANDBY', 'NODES', 'DRIVER', 'DATA PATH', 'ADDRESSES', 'PEERS UP'],
    gateways.map((each) => [
      each.name,
      each.active.join(',') || '(none)',
      each.standby.map((name) => [name, each.standbyPeers[name] ?? []].flat().join(' ')).join(', ') || '-',
      String(each.nodes),
      each.driver ?? '-',
      each.dataPath ?? '-',
      each.addresses.join(',') || '-',
      `${each.peersUp}/${each.peersTotal}`,
    ]),
  );
  const tunnelTable = formatTable(
    ['FROM', 'TO', 'REGION', 'STATE', 'PATH', 'RTT', 'MTU', 'PEER SEEN AT', 'SINCE', 'REASON'],
    tunnels.map((each) => [
      each.from,
      each.peer,
      each.gateway,
      each.state,
      `${each.via === undefined ? 'direct' : `via ${each.via}`}${each.encryption === 'none' ? ', not encrypted' : ''}`,
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
