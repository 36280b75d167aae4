import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { gatewayCrd, tunnelEndpointCrd } from '../../api/crd.ts';
import { AGENT_ACCOUNT, CONTROLLER_ACCOUNT, DEFAULT_NAMESPACE } from '../../api/names.ts';
import { type Exec, netnsExec } from '../../drivers/exec/exec.ts';
import { issueCertificate } from '../../net/certificate.ts';
import { forEachConcurrently } from '../concurrent.ts';
import { labPaths } from '../paths.ts';
import { CONTROL } from '../plan/control.ts';
import { planManifests } from '../plan/manifests.ts';
import { netnsName } from '../plan/names.ts';
import { controlPlaneOptions, corefile, flannelConfig, iptablesFolder } from '../programs-kube.ts';
import type { KubePrograms, LabState } from '../state.ts';
import { type ControlPlane, kubeconfig, prepareControlPlane } from './control-plane.ts';
import {
  accountObjects,
  agentPod,
  COREDNS_USER,
  FLANNEL_USER,
  KUBE_PROXY_USER,
  type Manifest,
  podStatus,
  SUPERVISOR_USER,
  workloadObjects,
} from './objects.ts';

/** Time for an API server to start on a machine that does other things too. */
const READY_TIMEOUT_MS = 120_000;
const DAY_MS = 24 * 3_600_000;
/** More kubectls at a time only wait for each other on two cores. */
const CONCURRENCY = 4;
/** Kinds of the shipped manifests that the lab needs; agents and the controller are its own processes. */
const ACCESS_KINDS = [
  'ServiceAccount',
  'Role',
  'RoleBinding',
  'ClusterRole',
  'ClusterRoleBinding',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
];

export interface KubeLab {
  readonly lab: LabState;
  readonly kube: KubePrograms;
  readonly root?: string;
  readonly exec: Exec;
  /** Folder of the shipped manifests. */
  readonly manifestsDir: string;
}

/** Writes keys, kubeconfigs and settings of all programs but those that need a token. Starts nothing. */
export async function writeKubeFiles({ lab, kube, root }: KubeLab): Promise<ControlPlane> {
  const paths = labPaths(lab.name, root);
  const controlPlane = await prepareControlPlane(controlPlaneOptions(lab, kube, root));
  const users: [string, string, string[]][] = [
    [join(paths.control, 'supervisor.kubeconfig'), SUPERVISOR_USER, []],
    ...lab.topology.nodes.flatMap(({ name }): [string, string, string[]][] => {
      const file = (program: string): string => paths.node(name).kubeconfig(program);
      return [
        [file('kubelet'), `system:node:${name}`, ['system:nodes']],
        [file('kube-proxy'), KUBE_PROXY_USER, []],
        [file('flanneld'), FLANNEL_USER, []],
      ];
    }),
  ];
  for (const [file, user, groups] of users) await writeFile(file, await certificateConfig(controlPlane, user, groups), { mode: 0o600 });
  await writeFile(join(paths.dir, 'flannel.json'), flannelConfig(lab.topology));
  for (const backend of ['legacy', 'nft'] as const) await linkIptables(iptablesFolder(paths, backend), backend);
  const { dns } = lab.topology;
  if (dns === undefined) return controlPlane;
  const config = join(paths.pod(dns.pod).dir, 'coredns.kubeconfig');
  await writeFile(config, await certificateConfig(controlPlane, COREDNS_USER, []), { mode: 0o600 });
  await writeFile(corefile(lab, dns.pod, root), corefileText(config));
  return controlPlane;
}

/** Waits until the API server answers. @throws when it does not in time */
export async function waitForApiServer({ lab, kube, root, exec }: KubeLab, signal: AbortSignal): Promise<void> {
  const kubectl = kubectlOf({ lab, kube, ...(root !== undefined && { root }), exec });
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    signal.throwIfAborted();
    try {
      await kubectl(['get', '--raw', '/readyz']);
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/** Fills an empty cluster: kinds, accounts, nodes, pods, services and gateways, and gives Raven's programs their tokens. */
export async function seedCluster(kubeLab: KubeLab, controlPlane: ControlPlane): Promise<void> {
  const { lab, manifestsDir, root } = kubeLab;
  const { topology } = lab;
  const paths = labPaths(lab.name, root);
  const kubectl = kubectlOf(kubeLab);
  const apply = (objects: readonly unknown[], ...args: string[]): Promise<string> =>
    kubectl(['apply', '--server-side', '-f', '-', ...args], objects.map((each) => JSON.stringify(each)).join('\n---\n'));

  await apply([gatewayCrd('none'), tunnelEndpointCrd(), ...accountObjects(), ...(await accessObjects(manifestsDir))]);
  const manifests = planManifests(topology, Date.now());
  const nodes = parseAllDocuments(manifests['nodes.yaml']).map((each) => each.toJS() as Manifest);
  await apply(nodes);
  await apply(
    nodes.map((node) => ({ ...node, spec: undefined })),
    '--subresource=status',
    '--force-conflicts',
  );
  await apply(workloadObjects(topology));
  await forEachConcurrently(topology.pods, CONCURRENCY, async (pod) => {
    const node = topology.nodes.find(({ name }) => name === pod.node);
    if (node === undefined) return;
    const patch = JSON.stringify({ status: podStatus(pod, node) });
    await kubectl(['patch', 'pod', pod.name, '--subresource=status', '--type=merge', '-p', patch]);
  });
  await kubectl([
    'wait',
    '--for=condition=Established',
    '--timeout=60s',
    'crd/gateways.raven.openyurt.io',
    'crd/tunnelendpoints.raven.openyurt.io',
  ]);
  // One after the other: the order of their creation decides which region relays.
  await kubectl(['apply', '--server-side', '-f', '-'], manifests['gateways.yaml']);

  const tokens: [string, string, string][] = [
    [join(paths.control, 'controller.kubeconfig'), CONTROLLER_ACCOUNT, 'raven-controller'],
    ...topology.nodes.map(({ name }): [string, string, string] => [paths.node(name).kubeconfig('agent'), AGENT_ACCOUNT, agentPod(name)]),
  ];
  await forEachConcurrently(tokens, CONCURRENCY, async ([file, account, pod]) => {
    const bound = ['--bound-object-kind=Pod', `--bound-object-name=${pod}`, '--duration=24h'];
    const token = (await kubectl(['create', 'token', account, `--namespace=${DEFAULT_NAMESPACE}`, ...bound])).trim();
    await writeFile(file, kubeconfig({ url: controlPlane.url, ca: controlPlane.ca.certificate, user: { token } }), { mode: 0o600 });
  });
}

/** Runs kubectl as administrator on the machine of the API server. */
export function kubectlOf({
  lab,
  kube,
  root,
  exec,
}: Omit<KubeLab, 'manifestsDir'>): (args: readonly string[], stdin?: string) => Promise<string> {
  const inside = netnsExec(netnsName(lab.name, CONTROL), exec);
  const { adminKubeconfig } = labPaths(lab.name, root);
  return (args, stdin) =>
    inside([kube.kubectl, `--kubeconfig=${adminKubeconfig}`, ...args], {
      timeoutMs: READY_TIMEOUT_MS,
      ...(stdin !== undefined && { stdin }),
    });
}

async function certificateConfig({ url, ca }: ControlPlane, commonName: string, organizations: readonly string[]): Promise<string> {
  const now = Date.now();
  const dates = { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + 365 * DAY_MS) };
  const user = await issueCertificate(ca, { commonName, organizations, usages: ['client'], ...dates });
  return kubeconfig({ url, ca: ca.certificate, user });
}

async function accessObjects(folder: string): Promise<Manifest[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.yaml')).toSorted();
  const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
  const objects = texts.flatMap((text) => parseAllDocuments(text).map((each) => each.toJS() as Manifest | null));
  return objects.filter((each): each is Manifest => ACCESS_KINDS.includes(String(each?.['kind'])));
}

/** Both of flannel and kube-proxy call `iptables` by its plain name; the machine's own choice of variant stays as it is. */
async function linkIptables(folder: string, backend: 'legacy' | 'nft'): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const family of ['iptables', 'ip6tables']) {
    for (const suffix of ['', '-save', '-restore']) {
      await symlink(`/usr/sbin/${family}-${backend}${suffix}`, join(folder, `${family}${suffix}`));
    }
  }
}

function corefileText(config: string): string {
  return ['.:53 {', '    errors', '    kubernetes cluster.local {', `        kubeconfig ${config}`, '        ttl 5', '    }', '}', ''].join(
    '\n',
  );
}
