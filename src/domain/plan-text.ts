import type { Nexthop, NftTable, NodePlan, Tunnel, TunnelPlan } from './node-plan.ts';
import { formatFdb, formatLink, formatNeighbour, formatNexthop, formatRoute, formatRule } from './node-plan.ts';

/** A node's plan as the commands that would make it, in the syntax of ip, bridge, nft and swanctl: to be read, compared, or run by hand. */
export function formatPlan(plan: NodePlan): string {
  const sections: [string, readonly string[]][] = [
    [`# role: ${plan.role}`, plan.findings.map(({ reason, message }) => `# ${reason}: ${message}`)],
    ['# links', plan.links.map((link) => (link.type === 'tun' ? `# made by charon: ip link set ${formatLink(link)}` : `ip link add ${formatLink(link)}`))],
    ['# sysctl', plan.sysctls.map(({ key, value }) => `sysctl -w ${key.replaceAll('/', '.')}=${value}`)],
    ['# forwarding database', plan.fdb.map((entry) => `bridge fdb append ${formatFdb(entry)}`)],
    ['# neighbours', plan.neighbours.map((entry) => `ip neigh replace ${formatNeighbour(entry)}`)],
    ['# next hops', plan.nexthops.map(formatNexthopCommand)],
    ['# routes', plan.routes.map((route) => `ip route replace ${formatRoute(route)}`)],
    ['# firewall', plan.nft === undefined ? [] : formatNftTable(plan.nft)],
    ['# rules', plan.rules.map((rule) => `ip${rule.family === 6 ? ' -6' : ''} rule add ${formatRule(rule)}`)],
    ['# ways to other regions', plan.paths.map(({ gateway, peer, via }) => `# ${gateway}: ${peer} ${via === undefined ? 'direct' : `via ${via}`}`)],
    ['# swanctl.conf', plan.tunnels === undefined ? [] : formatConnections(plan.tunnels)],
  ];
  return sections
    .filter(([title, lines]) => lines.length > 0 || title.startsWith('# role'))
    .map(([title, lines]) => [title, ...lines].join('\n'))
    .join('\n\n')
    .concat('\n');
}

function formatNexthopCommand(nexthop: Nexthop): string {
  return `ip${nexthop.family === 6 ? ' -6' : ''} nexthop replace ${formatNexthop(nexthop)}`;
}

function formatNftTable({ name, sets, chains }: NftTable): string[] {
  return [
    `table inet ${name} {`,
    ...sets.flatMap((set) => [
      `  set ${set.name} {`,
      `    type ${set.type}`,
      '    flags interval',
      ...(set.elements.length === 0 ? [] : [`    elements = { ${set.elements.join(', ')} }`]),
      '  }',
    ]),
    ...chains.flatMap(({ name: chain, type, hook, priority, rules }) => [
      `  chain ${chain} {`,
      `    type ${type} hook ${hook} priority ${priority}; policy accept;`,
      ...rules.map((rule) => `    ${rule}`),
      '  }',
    ]),
    '}',
  ];
}

function formatConnections({ localName, localPort, dataPath, tunnels }: TunnelPlan): string[] {
  return [`connections { # ${dataPath} data path, UDP port ${localPort}`, ...tunnels.flatMap((tunnel) => formatConnection(tunnel, localName, localPort)), '}'];
}

function formatConnection({ peer, gateway, remote, initiate, ifId, localTs, remoteTs }: Tunnel, localName: string, localPort: number): string[] {
  return [
    `  raven-${peer} { # region ${gateway}; ${initiate ? 'this side calls' : 'waits to be called'}`,
    `    local_port = ${localPort}`,
    ...(remote === undefined ? ['    remote_addrs = %any'] : [`    remote_addrs = ${remote.ip}`, `    remote_port = ${remote.port}`]),
    '    encap = yes',
    `    local { id = ${localName}.raven }`,
    `    remote { id = ${peer}.raven }`,
    '    children {',
    `      net { local_ts = ${localTs.join(',')}; remote_ts = ${remoteTs.join(',')}${ifId === undefined ? '' : `; if_id_in = ${ifId}; if_id_out = ${ifId}`} }`,
    '    }',
    '  }',
  ];
}
