import { describe, expect, it } from 'vitest';
import { type Gateway, gatewaySchema } from '../api/gateway.ts';
import { type TunnelEndpoint, tunnelEndpointSchema } from '../api/tunnel-endpoint.ts';
import { labReadiness } from './readiness.ts';

const tunnel = (nodeName: string) => ({ nodeName, type: 'tunnel' });

function gateway(name: string, node: string, isActive = true): Gateway {
  const metadata = { name };
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata,
    spec: { endpoints: [tunnel(node)], tunnelConfig: { Replicas: 1 } },
    status: { nodes: [], activeEndpoints: isActive ? [tunnel(node)] : [] },
  });
}

function endpoint(name: string, links: { peer: string; gateway: string; state: string; message?: string }[]): TunnelEndpoint {
  return tunnelEndpointSchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'TunnelEndpoint',
    metadata: { name },
    spec: { gateway: name[0], nodeName: name, driver: 'ipsec', dataPath: 'user', port: 4500, underlayMtu: 1500 },
    status: { links: links.map((link) => ({ path: 'direct', ...link })) },
  });
}

describe('a lab is ready', () => {
  it('when every active endpoint has a tunnel to every other region', () => {
    const up = (peer: string, region: string) => ({ peer, gateway: region, state: 'Up' });
    const endpoints = [endpoint('a1', [up('b1', 'b')]), endpoint('b1', [up('a1', 'a')])];
    expect(labReadiness([gateway('a', 'a1'), gateway('b', 'b1')], endpoints)).toEqual({
      ready: true,
      progress: '2/2 gateways elected, 2/2 tunnel ends up',
      missing: [],
    });
  });

  it('not before, and says what is missing', () => {
    const endpoints = [endpoint('a1', [{ peer: 'b1', gateway: 'b', state: 'Connecting', message: 'no answer' }])];
    expect(labReadiness([gateway('a', 'a1'), gateway('b', 'b1'), gateway('c', 'c1', false)], endpoints)).toEqual({
      ready: false,
      progress: '2/3 gateways elected, 0/2 tunnel ends up',
      missing: [
        'region c has no active endpoint',
        'a1 → region b: tunnel to b1 is Connecting (no answer)',
        'b1 → region a: the agent of b1 has not published its TunnelEndpoint',
      ],
    });
  });
});
