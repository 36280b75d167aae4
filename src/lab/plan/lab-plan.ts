import type { Family } from '../../net/ip.ts';
import type { IptablesBackend, Topology } from '../topology/resolve.ts';
import { planControl } from './control.ts';
import { planInternet } from './internet.ts';
import { planNode } from './node.ts';
import { planPod } from './pod.ts';
import { planRouter } from './router.ts';

/** One network namespace and all that is in it, as text for the tools that make it so. */
export interface NamespacePlan {
  readonly netns: string;
  readonly kind: 'internet' | 'control' | 'router' | 'node' | 'pod';
  /** Name of the router, node or pod. */
  readonly member: string;
  /** The node whose power supply it hangs on. */
  readonly node?: string;
  /** `key=value` for sysctl(8), set before there are any devices: these take the defaults over. */
  readonly sysctls: readonly string[];
  /** Lines of `ip -batch -` inside. */
  readonly ip: readonly string[];
  /** Where the other end of its cable is; absent for the internet. */
  readonly attach?: Attachment;
  readonly nft?: string;
  readonly iptables: readonly IptablesPlan[];
  /** Seen as /etc/resolv.conf by programs inside (`ip-netns(8)`). */
  readonly resolvConf?: string;
}

/** Lines of `ip -batch -` in another namespace, which plug the cable in there. The cable itself is among the namespace's own lines. */
export interface Attachment {
  readonly netns: string;
  readonly ip: readonly string[];
  /** Device there. */
  readonly device: string;
}

/** Input of `iptables-<backend>-restore --noflush`, or of its companion for IPv6. */
export interface IptablesPlan {
  readonly backend: IptablesBackend;
  readonly family: Family;
  readonly text: string;
}

/**
 * All namespaces of a lab: the internet, then routers, nodes and pods. Pure.
 *
 * @param kubernetes the API server has a machine of its own; flannel and kube-proxy write what is planned here otherwise
 */
export function planLab(topology: Topology, lab: string, kubernetes = false): NamespacePlan[] {
  return [
    planInternet(topology, lab),
    ...(kubernetes ? [planControl(topology, lab)] : []),
    ...topology.routers.map((router) => planRouter(topology, router, lab)),
    ...topology.nodes.map((node) => planNode(topology, node, lab, kubernetes)),
    ...topology.pods.map((pod) => planPod(topology, pod, lab, kubernetes)),
  ];
}

/** A plan as commands that a person could type, for `--dry-run` and tests. */
export function formatLabPlan(plans: readonly NamespacePlan[]): string {
  return plans.flatMap(formatNamespace).join('\n');
}

export function restoreProgram({ backend, family }: Pick<IptablesPlan, 'backend' | 'family'>): string {
  return `ip${family === 6 ? '6' : ''}tables-${backend}-restore`;
}

function formatNamespace({ netns, sysctls, ip, attach, nft, iptables, resolvConf }: NamespacePlan): string[] {
  return [
    `ip netns add ${netns}`,
    ...sysctls.map((setting) => `  sysctl ${setting}`),
    ...ip.map((line) => `  ip ${line}`),
    ...(attach?.ip ?? []).map((line) => `  ip -n ${attach?.netns} ${line}`),
    ...indented('nft -f -', nft),
    ...iptables.flatMap((each) => indented(`${restoreProgram(each)} --noflush`, each.text)),
    ...indented(`cat > /etc/netns/${netns}/resolv.conf`, resolvConf),
  ];
}

function indented(command: string, text: string | undefined): string[] {
  if (text === undefined) return [];
  return [
    `  ${command} <<.`,
    ...text
      .trimEnd()
      .split('\n')
      .map((line) => `    ${line}`),
  ];
}
