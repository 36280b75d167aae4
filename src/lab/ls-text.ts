import type { LabListing, ListedProcess } from './ls.ts';

/** A lab as tables for people. */
export function formatListing({ name, topologyFile, nodes, pods, routers, processes, store }: LabListing): string {
  const nodeRows = nodes.map((node) => [
    node.name,
    node.region,
    node.role,
    node.addresses.join(','),
    node.podCIDRs.join(','),
    node.netns,
    describe(node),
  ]);
  const podRows = pods.map((pod) => [pod.name, pod.node, pod.region, pod.ips.join(','), pod.netns, describe(pod)]);
  const routerRows = routers.map((router) => [router.name, router.nat, router.publicIP ?? '-', router.lans.join(','), router.netns]);
  return [
    `lab ${name} (${topologyFile}), store ${store}`,
    `${processes.map(describeProcess).join(', ') || 'no programs of its own'}`,
    '',
    ...table(['NODE', 'REGION', 'ROLE', 'ADDRESS', 'PODS', 'NETNS', 'PROGRAMS'], nodeRows),
    '',
    ...table(['POD', 'NODE', 'REGION', 'ADDRESS', 'NETNS', 'PROGRAMS'], podRows),
    '',
    ...table(['ROUTER', 'NAT', 'PUBLIC', 'LAN', 'NETNS'], routerRows),
    '',
  ].join('\n');
}

function describe({ state, processes }: { state: 'up' | 'down'; processes: readonly ListedProcess[] }): string {
  if (state === 'down') return 'down';
  return processes.map(describeProcess).join(', ') || '-';
}

function describeProcess({ program, pid, state, log }: ListedProcess): string {
  return state === 'running' ? `${program} ${pid}` : `${program} DEAD (${log})`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  return [head, ...rows].map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
