import type { Family } from '../../net/ip.ts';
import type { Topology } from '../topology/resolve.ts';

/** `ip-sysctl.rst`, rp_filter. */
const RP_FILTER = { off: 0, strict: 1, loose: 2 } as const;

/** Settings of namespaces that forward packets. */
export function forwarderSettings(topology: Topology, rpFilter: Topology['rpFilter']): string[] {
  return [
    // First, for switching it resets others (ip-sysctl.rst).
    'net.ipv4.ip_forward=1',
    // Devices obey the greater one of `all` and their own, which they inherit from `default`.
    `net.ipv4.conf.all.rp_filter=${RP_FILTER[rpFilter]}`,
    `net.ipv4.conf.default.rp_filter=${RP_FILTER[rpFilter]}`,
    // Else traces of many pairs at once miss hops: the kernel sends each host about one ICMP error a second.
    'net.ipv4.icmp_ratelimit=0',
    ...(topology.ipv6 === 'on' ? ['net.ipv6.conf.all.forwarding=1', 'net.ipv6.icmp.ratelimit=0'] : []),
    ...familySettings(topology),
  ];
}

/** Without IPv6 nothing sends router solicitations or multicast reports that captures would show. */
export function familySettings({ ipv6 }: Topology): string[] {
  if (ipv6 === 'link-local') return [];
  if (ipv6 === 'off') return ['net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1'];
  // Addresses are usable at once, and none come from advertisements. A device obeys the greater one of both accept_dad.
  return ['all.accept_dad', 'default.accept_dad', 'default.accept_ra', 'default.router_solicitations'].map(
    (setting) => `net.ipv6.conf.${setting}=0`,
  );
}

/** What is not needed to find neighbours. */
const ICMP6_TYPES = 'destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, echo-reply';

/** Chains that silence ICMP in what is forwarded and in what the namespace itself has to say. */
export function dropIcmpChains(family: Family): string[] {
  return ['forward', 'output'].flatMap((hook) => [
    `  chain ${hook} {`,
    `    type filter hook ${hook} priority filter; policy accept;`,
    family === 4 ? '    ip protocol icmp drop' : `    icmpv6 type { ${ICMP6_TYPES} } drop`,
    '  }',
  ]);
}
