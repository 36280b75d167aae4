import { USER_TUNNEL_DEVICE } from '../api/names.ts';
import type { Nexthop, NodePlan } from './node-plan.ts';
import { formatNftScript } from './nft-text.ts';
import { formatFdb, formatLink, formatNeighbour, formatNexthop, formatRoute, formatRule } from './node-plan.ts';

/**
 * A node's plan as the commands that would make it, in the syntax of ip, bridge, nft, and swanctl or wg: to be read, compared, or run by hand.
 *
 * @param tunnels as swanctl.conf(5) has them, or as commands of wg(8)
 */
export function formatPlan(plan: NodePlan, tunnels: readonly string[]): string {
  const sections: [string, readonly string[]][] = [
    [`# role: ${plan.role}`, plan.findings.map(({ reason, message }) => `# ${reason}: ${message}`)],
    [
      '# links',
      plan.links.map((link) =>
        link.type === 'tun'
          ? `# made by ${link.name === USER_TUNNEL_DEVICE ? 'charon' : 'wireguard-go'}: ip link set ${formatLink(link)}`
          : `ip link add ${formatLink(link)}`,
      ),
    ],
    ['# sysctl', plan.sysctls.map(({ key, value }) => `sysctl -w ${key.replaceAll('/', '.')}=${value}`)],
    ['# forwarding database', plan.fdb.map((entry) => `bridge fdb append ${formatFdb(entry)}`)],
    ['# neighbours', plan.neighbours.map((entry) => `ip neigh replace ${formatNeighbour(entry)}`)],
    ['# next hops', plan.nexthops.map(formatNexthopCommand)],
    ['# routes', plan.routes.map((route) => `ip route replace ${formatRoute(route)}`)],
    ['# firewall', plan.nft === undefined ? [] : [`nft -f - <<END\n${formatNftScript(plan.nft)}\nEND`]],
    ['# rules', plan.rules.map((rule) => `ip${rule.family === 6 ? ' -6' : ''} rule add ${formatRule(rule)}`)],
    [
      '# ways to other regions',
      plan.paths.map(
        ({ gateway, peer, via, encryption, carrier }) =>
          `# ${gateway}: ${peer} ${via === undefined ? 'direct' : `via ${via}`}${encryption === undefined ? '' : ', not encrypted'}${carrier === undefined ? '' : `; carried by ${carrier}`}`,
      ),
    ],
    [plan.tunnels?.driver === 'wireguard' ? '# wireguard' : '# swanctl.conf', tunnels],
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
