import type { Gateway } from '../api/gateway.ts';
import { netnsInode } from './netns.ts';
import { readObjects } from './objects.ts';
import { LAB_ROOT, labPaths } from './paths.ts';
import { netnsName, UPLINK } from './plan/names.ts';
import { findProcess } from './processes.ts';
import { listProcesses, type LabProcess } from './programs.ts';
import type { LabState } from './state.ts';

/** The output of `raven lab ls -o json`; documented in docs/lab.md. Fields may be added, none removed or changed within a version. */
export interface LabListing {
  readonly version: 1;
  readonly name: string;
  readonly nodes: readonly ListedNode[];
  readonly pods: readonly ListedPod[];
  readonly routers: readonly {
    readonly name: string;
    readonly netns: string;
    readonly nat: string;
    readonly publicIP: string | null;
    readonly lan: string;
    readonly lans: readonly string[];
  }[];
  readonly services: readonly ListedService[];
  /** Folder of the dir: store. */
  readonly store: string;
  /** Programs of the lab itself, outside its namespaces. */
  readonly processes: readonly ListedProcess[];
  readonly topologyFile: string;
}

export interface ListedNode {
  readonly name: string;
  readonly region: string;
  readonly role: NodeRole;
  readonly netns: string;
  readonly addresses: readonly string[];
  readonly interface: string;
  /** Empty on a node that is down. */
  readonly processes: readonly ListedProcess[];
  readonly state: 'up' | 'down';
  readonly podCIDR: string;
  /** All of them; the first is `podCIDR`. */
  readonly podCIDRs: readonly string[];
}

export interface ListedPod {
  readonly name: string;
  readonly node: string;
  readonly region: string;
  readonly netns: string;
  readonly ips: readonly string[];
  readonly interface: string;
  readonly processes: readonly ListedProcess[];
  readonly state: 'up' | 'down';
  /** Control socket of the pod's program. */
  readonly socket: string;
}

export interface ListedProcess {
  readonly program: string;
  readonly pid: number;
  readonly log: string;
  readonly state: 'running' | 'dead';
}

export interface ListedService {
  readonly name: string;
  readonly namespace: string;
  readonly clusterIP: string;
  /** All of them; the first is `clusterIP`. */
  readonly clusterIPs: readonly string[];
  readonly port: number;
  readonly targetPort: number;
  readonly protocol: 'TCP' | 'UDP';
  readonly nodePort: number | null;
  readonly pods: readonly string[];
}

/** gateway: active endpoint of its region. standby: listed in the Gateway, not active. */
export type NodeRole = 'gateway' | 'standby' | 'ordinary';

/** Looks at a lab as it is now. */
export async function listLab(lab: LabState, root = LAB_ROOT): Promise<LabListing> {
  const { name, topology } = lab;
  const paths = labPaths(name, root);
  const processes = await observe(listProcesses(lab, { node: '', dir: '', extension: '' }, root));
  const gateways = await readGateways(lab, root);
  const stateOf = new Map(
    await Promise.all(
      [...topology.nodes, ...topology.pods].map(async (member) => [member.name, await netnsState(netnsName(name, member.name))] as const),
    ),
  );
  const of = (member: string): { state: 'up' | 'down'; processes: readonly ListedProcess[] } => {
    const state = stateOf.get(member) ?? 'down';
    return { state, processes: state === 'down' ? [] : (processes.get(member) ?? []) };
  };
  return {
    version: 1,
    name,
    nodes: topology.nodes.map(({ name: node, region, ips, podCidrs }) => ({
      name: node,
      region,
      role: roleOf(
        node,
        gateways.find(({ metadata }) => metadata.name === region),
      ),
      netns: netnsName(name, node),
      addresses: ips,
      interface: UPLINK,
      podCIDR: podCidrs[0] ?? '',
      podCIDRs: podCidrs,
      ...of(node),
    })),
    pods: topology.pods.map(({ name: pod, node, region, ips }) => ({
      name: pod,
      node,
      region,
      netns: netnsName(name, pod),
      ips,
      interface: UPLINK,
      socket: paths.pod(pod).socket,
      ...of(pod),
    })),
    routers: topology.routers.map(({ name: router, nat, publicIp, lans }) => ({
      name: router,
      netns: netnsName(name, router),
      nat,
      publicIP: publicIp ?? null,
      lan: lans[0]?.cidr ?? '',
      lans: lans.map(({ cidr }) => cidr),
    })),
    services: topology.services.map(({ clusterIps, nodePort, backends, ...rest }) => ({
      ...rest,
      clusterIP: clusterIps[0] ?? '',
      clusterIPs: clusterIps,
      nodePort: nodePort ?? null,
      pods: backends.map(({ pod }) => pod),
    })),
    store: paths.store,
    processes: processes.get('') ?? [],
    topologyFile: lab.topologyFile,
  };
}

/** Pure. */
export function roleOf(node: string, gateway: Gateway | undefined): NodeRole {
  if (gateway?.status?.activeEndpoints.some(({ nodeName }) => nodeName === node)) return 'gateway';
  return gateway?.spec.endpoints.some(({ nodeName }) => nodeName === node) ? 'standby' : 'ordinary';
}

/** Member (empty: the lab itself) → programs of it that were ever started. */
async function observe(processes: readonly LabProcess[]): Promise<Map<string, ListedProcess[]>> {
  const seen = await Promise.all(
    processes.map(async (process_) => {
      const found = await findProcess(process_);
      const { id, program, log } = process_;
      const member = id.includes('/') ? id.slice(0, id.indexOf('/')) : '';
      return found === undefined
        ? []
        : [{ member, program, pid: found.pid, log, state: found.alive ? ('running' as const) : ('dead' as const) }];
    }),
  );
  const grouped = Map.groupBy(seen.flat(), ({ member }) => member);
  return new Map(
    [...grouped].map(([member, list]) => [member, list.map(({ program, pid, log, state }) => ({ program, pid, log, state }))]),
  );
}

/** A broken store must not hide the lab that it belongs to. */
async function readGateways(lab: LabState, root: string): Promise<readonly Gateway[]> {
  try {
    return await readObjects(lab, 'Gateway', { root });
  } catch {
    return [];
  }
}

async function netnsState(netns: string): Promise<'up' | 'down'> {
  return (await netnsInode(netns)) === undefined ? 'down' : 'up';
}
