import { type Gateway, gatewaySchema } from '../src/api/gateway.ts';
import type { LocalFacts } from '../src/domain/facts.ts';
import { parseCidr } from '../src/net/cidr.ts';
import { parseIp } from '../src/net/ip.ts';

export const NODES_PER_REGION = 10;

/** Region 0 is public, the others stand behind NATs; 10 nodes each, one /24 a node. */
export function syntheticGateways(regions: number): Gateway[] {
  return Array.from({ length: regions }, (_, region) => syntheticGateway(region));
}

export function syntheticGateway(region: number, activeNode = 0): Gateway {
  const name = `region-${region}`;
  const nodeName = (i: number): string => `${name}-node-${i}`;
  const endpoint = (i: number) => ({
    nodeName: nodeName(i),
    type: 'tunnel',
    port: 4500,
    ...(region === 0 ? { publicIP: '203.0.113.1' } : { underNAT: true }),
  });
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, creationTimestamp: new Date(Date.UTC(2025, 0, 1) + region * 1000).toISOString() },
    spec: { tunnelConfig: { Replicas: 1 }, endpoints: [endpoint(0), endpoint(1)] },
    status: {
      nodes: Array.from({ length: NODES_PER_REGION }, (_, i) => ({
        nodeName: nodeName(i),
        privateIP: `192.168.1.${10 + i}`,
        subnets: [podCidr(region * NODES_PER_REGION + i)],
      })),
      activeEndpoints: [endpoint(activeNode)],
    },
  });
}

function podCidr(index: number): string {
  return `10.${Math.floor(index / 256)}.${index % 256}.0/24`;
}

/** As seen on the first node of a region, on a device that exists in the bench's namespace. */
export function syntheticFacts(dev: string, dataPath: LocalFacts['dataPath']): LocalFacts {
  const prefix = parseCidr('192.168.1.0/24');
  const host = parseIp('10.0.10.1');
  return {
    underlay: { dev, mtuBytes: 1500, prefixes: prefix === undefined ? [] : [prefix] },
    hostSources: host === undefined ? {} : { 4: host },
    ipv6Forwarding: undefined,
    driver: 'ipsec',
    dataPath,
  };
}
