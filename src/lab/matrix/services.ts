import { type Exec, hostExec, netnsExec } from '../../drivers/exec/exec.ts';
import { messageOf } from '../../lib/errors.ts';
import { type Family, familiesOf, familyOf, formatIpPort } from '../../net/ip.ts';
import { forEachConcurrently } from '../concurrent.ts';
import type { PodClient } from '../pod/control-client.ts';
import { HTTP_PORT, parseObject } from '../pod/protocol.ts';
import { createPodClients } from './run.ts';
import type { MatrixHost, MatrixLab, MatrixService, ServiceResult } from './types.ts';

/** One thing to try from one place. */
export interface ServiceCheck {
  readonly from: string;
  readonly via: ServiceResult['via'];
  readonly service: MatrixService;
  readonly ip: string;
  readonly port: number;
}

export interface ServiceTools {
  /** How to start the pod program, for checks from a node's own network. */
  readonly podProgram: readonly [string, ...string[]];
  readonly exec?: Exec;
}

const TIMEOUT_MS = 5_000;
const CONCURRENCY = 12;

/**
 * Tries every Service from every living pod and node: its cluster IP, its node port at each living node of the same region, and
 * from pods its DNS name. Right is an answer of one of its pods, whatever source that saw: kube-proxy may masquerade.
 */
export async function runServices(lab: MatrixLab, { podProgram, exec = hostExec }: ServiceTools): Promise<ServiceResult[]> {
  const checks = planServiceChecks(lab);
  const results = new Map<ServiceCheck, ServiceResult>();
  const pods = createPodClients();

  async function placeOf(name: string): Promise<Place> {
    const pod = lab.pods.find((each) => each.name === name);
    if (pod !== undefined) return pods.get(pod.socket);
    const netns = lab.nodes.find((node) => node.name === name)?.netns ?? '';
    return hostPlace(netnsExec(netns, exec), podProgram);
  }

  try {
    await forEachConcurrently(checks, CONCURRENCY, async (check) => {
      const error = (reason: unknown): ServiceResult => ({ ...describe(check), ...FAILED, error: messageOf(reason) });
      results.set(
        check,
        await placeOf(check.from)
          .then((place) => runCheck(check, place))
          .catch(error),
      );
    });
  } finally {
    await pods.close();
  }
  return checks.flatMap((check) => results.get(check) ?? []);
}

/** All checks, in the lab's order. Pure. */
export function planServiceChecks({ nodes, pods, services, hasDns }: MatrixLab): ServiceCheck[] {
  const living = nodes.filter(({ alive }) => alive);
  const places = [
    ...pods.filter(({ alive }) => alive).map(({ name, region, ips }) => ({ name, region, families: familiesOf(ips), isPod: true })),
    ...living.map(({ name, region, addresses }) => ({ name, region, families: familiesOf(addresses), isPod: false })),
  ];
  return places.flatMap(({ name: from, region, families, isPod }) =>
    services.flatMap((service): ServiceCheck[] => {
      const reachable = service.clusterIPs.filter((ip) => families.includes(familyOf(ip)));
      const named = isPod && hasDns ? reachable.filter((ip) => familyOf(ip) === 4) : [];
      return [
        ...reachable.map((ip) => ({ from, via: 'clusterIP' as const, service, ip, port: service.port })),
        ...named.map((ip) => ({ from, via: 'name' as const, service, ip, port: service.port })),
        ...living
          .filter((node) => node.region === region)
          .flatMap((node) => familiesOf(reachable).flatMap((family) => nodePortCheck(from, service, { node, family }))),
      ];
    }),
  );
}

/** A node without an address of the family in its LAN has one on the bridge of its pods, which is as local. */
function nodePortCheck(
  from: string,
  service: MatrixService,
  { node, family }: { readonly node: MatrixHost; readonly family: Family },
): ServiceCheck[] {
  const ip = node.addresses.find((address) => familyOf(address) === family);
  return service.nodePort === null || ip === undefined ? [] : [{ from, via: 'nodePort', service, ip, port: service.nodePort }];
}

/** Where checks are made from: a pod's program, or a short run of it in a node's own network. */
type Place = Pick<PodClient, 'call'>;

function hostPlace(exec: Exec, podProgram: readonly [string, ...string[]]): Place {
  return {
    call: async (op, args) => {
      const { result, error } = parseObject(await exec([...podProgram, '--client', JSON.stringify({ op, args })])) ?? {};
      if (result === undefined) throw new Error(typeof error === 'string' ? error : 'no answer of the pod program');
      return result as never;
    },
  };
}

async function runCheck(check: ServiceCheck, place: Place): Promise<ServiceResult> {
  const { via, service, ip, port } = check;
  if (via === 'name') {
    const name = `${service.name}.${service.namespace}.svc.cluster.local`;
    const { addresses } = await place.call('resolve', { name, timeoutMs: TIMEOUT_MS });
    if (!addresses.includes(ip)) return { ...describe(check), ...FAILED, error: `${name} is ${addresses.join(', ')}, not ${ip}` };
  }
  const answer = await place.call('connect', { ip, port, protocol: protocolOf(service), timeoutMs: TIMEOUT_MS });
  const ok = answer.ok && service.pods.includes(answer.pod ?? '');
  return {
    ...describe(check),
    answeredBy: answer.pod ?? null,
    sourceSeen: answer.sourceIp ?? null,
    ok,
    error: ok ? null : (answer.error ?? `answered by ${answer.pod}, which does not serve it`),
  };
}

const FAILED = { answeredBy: null, sourceSeen: null, ok: false };

function describe({ from, via, service, ip, port }: ServiceCheck): Pick<ServiceResult, 'from' | 'via' | 'service' | 'address'> {
  return { from, via, service: `${service.namespace}/${service.name}`, address: formatIpPort(ip, port) };
}

function protocolOf({ protocol, targetPort }: MatrixService): 'tcp' | 'udp' | 'http' {
  if (protocol === 'UDP') return 'udp';
  return targetPort === HTTP_PORT ? 'http' : 'tcp';
}
