import type { MatrixHost, MatrixLab, MatrixPod, PairResult } from './types.ts';

/** Two edges with the same LAN behind a cloud: what tests of this folder look at. */
export const testLab: MatrixLab = {
  name: 'test',
  hasDns: true,
  pods: [pod('a1', 'a', 1), pod('b1', 'b', 3), pod('b2', 'b', 4), pod('c1', 'c', 6)],
  nodes: [
    host('a1', 'a', ['203.0.113.1', '10.244.1.1']),
    host('b1', 'b', ['192.168.1.10', '10.244.3.1']),
    host('b2', 'b', ['192.168.1.11', '10.244.4.1']),
    host('c1', 'c', ['192.168.1.10', '10.244.6.1']),
  ],
  routers: [host('router-b', 'b', ['198.51.100.2', '192.168.1.254']), host('router-c', 'c', ['198.51.100.3', '192.168.1.254'])],
  services: [
    {
      name: 'web',
      namespace: 'shop',
      clusterIPs: ['10.96.0.20'],
      port: 80,
      targetPort: 8000,
      protocol: 'TCP',
      nodePort: 30080,
      pods: ['pod-a1'],
    },
  ],
};

export function pod(node: string, region: string, net: number, ips = [`10.244.${net}.2`]): MatrixPod {
  return { name: `pod-${node}`, node, region, ips, socket: `/nowhere/${node}`, alive: true };
}

export function host(name: string, region: string, addresses: readonly string[]): MatrixHost {
  return { name, region, netns: `raven-test-${name}`, addresses, alive: true };
}

/** A pair that passed, except for `change`. */
export function passed(from: string, to: string, change: Partial<PairResult> = {}): PairResult {
  const path = [from.slice(4), to.slice(4)];
  return {
    from,
    to,
    family: 4,
    icmp: true,
    tcp: true,
    udp: true,
    sourceSeen: '10.244.9.9',
    path,
    rttMs: 0.61,
    ok: true,
    error: null,
    ...change,
  };
}
