import { type Node, nodeSchema } from '../../src/api/core.ts';
import { type Gateway, gatewaySchema } from '../../src/api/gateway.ts';
import { GATEWAY_LABEL } from '../../src/api/names.ts';
import type { DataPath, VpnDriver } from '../../src/domain/node-plan.ts';
import type { Cidr } from '../../src/net/cidr.ts';
import type { Ip } from '../../src/net/ip.ts';
import { createRandom } from './random.ts';

/** What a history happens to: drawn from its seed, and the same from then on. */
export interface World {
  readonly driver: VpnDriver;
  readonly dataPath: DataPath;
  readonly regions: readonly RegionShape[];
  readonly nodes: readonly NodeShape[];
  /** Whether packets flow between all nodes all the time: probes are rarer where none do. */
  readonly isBusy: boolean;
  /** How long a kubelet may be silent until its node is NotReady. */
  readonly graceMs: number;
}

export interface RegionShape {
  readonly name: string;
  /** Its endpoints can be called. */
  readonly isPublic: boolean;
  readonly endpoints: readonly string[];
  /** So many of them are wanted as active. */
  readonly replicas: 1 | 2;
}

export interface NodeShape {
  readonly name: string;
  readonly region: string;
  readonly isEndpoint: boolean;
  readonly lanIp: Ip;
  readonly lan: Cidr;
  readonly podCidr: Cidr;
  /** The host itself, inside its pod CIDR: what agents probe. */
  readonly overlayIp: Ip;
  readonly podIp: Ip;
}

const NAMES = ['a', 'b', 'c', 'd'];
const MODES = [
  { driver: 'ipsec', dataPath: 'kernel' },
  { driver: 'ipsec', dataPath: 'user' },
  { driver: 'wireguard', dataPath: 'kernel' },
] as const;
/** The kubelet's default is 40 s; operators shorten it. */
const GRACES_MS = [6_000, 15_000, 40_000];

export function drawWorld(seed: number): World {
  const random = createRandom(seed);
  const sharing = createRandom(seed ^ 0x1a9e5);
  const areShared = sharing.chance(0.5);
  const names = NAMES.slice(0, random.int(2, 4));
  const publicCount = random.int(1, Math.min(2, names.length));
  const regions: RegionShape[] = [];
  const nodes: NodeShape[] = [];
  for (const [i, name] of names.entries()) {
    const endpoints = Array.from({ length: random.int(1, 3) }, (_, k) => `${name}${k + 1}`);
    const ordinary = Array.from({ length: random.int(0, 3) }, (_, k) => `${name}${k + 5}`);
    regions.push({ name, isPublic: i < publicCount, endpoints, replicas: areShared && sharing.chance(0.75) ? 2 : 1 });
    nodes.push(...[...endpoints, ...ordinary].map((node, k) => nodeShape(node, { name, region: i, index: k, endpoints })));
  }
  const mode = random.pick(MODES);
  return { ...mode, regions, nodes, isBusy: random.chance(0.85), graceMs: random.pick(GRACES_MS) };
}

function nodeShape(
  node: string,
  { name, region, index, endpoints }: { name: string; region: number; index: number; endpoints: readonly string[] },
): NodeShape {
  const pods = `10.${100 + region}.${index}`;
  return {
    name: node,
    region: name,
    isEndpoint: endpoints.includes(node),
    lanIp: `192.168.${region}.${10 + index}` as Ip,
    lan: `192.168.${region}.0/24` as Cidr,
    podCidr: `${pods}.0/24` as Cidr,
    overlayIp: `${pods}.1` as Ip,
    podIp: `${pods}.2` as Ip,
  };
}

/** The Gateway as an operator writes it. Ages differ, so that who relays does not hang on names. */
export function gatewayOf({ name, isPublic, endpoints, replicas }: RegionShape, { regions }: World): Gateway {
  const index = regions.findIndex((each) => each.name === name);
  return gatewaySchema.parse({
    apiVersion: 'raven.openyurt.io/v1beta1',
    kind: 'Gateway',
    metadata: { name, creationTimestamp: `2025-01-0${regions.length - index}T00:00:00Z` },
    spec: {
      endpoints: endpoints.map((nodeName, k) => ({
        nodeName,
        type: 'tunnel',
        port: 4500,
        ...(isPublic ? { publicIP: `203.0.113.${16 * index + k + 1}` } : { underNAT: true }),
      })),
      tunnelConfig: { Replicas: replicas },
    },
  });
}

export function nodeOf({ name, region, lanIp, podCidr }: NodeShape, isReady: boolean): Node {
  return nodeSchema.parse({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { [GATEWAY_LABEL]: region } },
    spec: { podCIDRs: [podCidr] },
    status: {
      addresses: [{ type: 'InternalIP', address: lanIp }],
      conditions: [{ type: 'Ready', status: isReady ? 'True' : 'Unknown' }],
    },
  });
}

/** Where two active endpoints share the packets. */
export function hasShared({ regions }: World): boolean {
  return regions.some(isShared);
}

function isShared({ replicas, endpoints }: RegionShape): boolean {
  return replicas > 1 && endpoints.length > 1;
}

/** `ipsec/kernel; a (public, 2 active): a1 a2 | a5; b: b1 | b5 b6`. */
export function formatWorld({ driver, dataPath, regions, nodes, isBusy, graceMs }: World): string {
  const texts = regions.map((region) => {
    const { name, isPublic, endpoints } = region;
    const traits = [...(isPublic ? ['public'] : []), ...(isShared(region) ? ['2 active'] : [])].join(', ');
    const others = nodes.filter((node) => node.region === name && !node.isEndpoint).map((node) => node.name);
    return `${name}${traits === '' ? '' : ` (${traits})`}: ${[endpoints.join(' '), ...(others.length > 0 ? [others.join(' ')] : [])].join(' | ')}`;
  });
  return [`${driver}/${dataPath}, ${isBusy ? 'busy' : 'idle'}, NotReady after ${graceMs / 1000} s`, ...texts].join('; ');
}
