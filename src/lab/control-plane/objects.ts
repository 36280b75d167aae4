import { AGENT_ACCOUNT, CONTROLLER_ACCOUNT, DEFAULT_NAMESPACE } from '../../api/names.ts';
import { dnsServices } from '../plan/iptables.ts';
import type { LabNode, LabPod, LabService, Topology } from '../topology/resolve.ts';

export type Manifest = Readonly<Record<string, unknown>>;

/** Users that real clusters have; the names of the first are built into the API server's roles. */
export const KUBE_PROXY_USER = 'system:kube-proxy';
export const FLANNEL_USER = 'lab:flannel';
export const COREDNS_USER = 'lab:coredns';
export const SUPERVISOR_USER = 'lab:supervisor';

/** Pod of an agent on its node: its token is bound to it. */
export function agentPod(node: string): string {
  return `raven-agent-${node}`;
}

/** What must be there before pods can be. */
export function accountObjects(): Manifest[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'kube-node-lease' } },
    ...['default', DEFAULT_NAMESPACE].map((namespace) => account('default', namespace)),
    ...clusterRole('lab-flannel', FLANNEL_USER, [
      rule('', ['nodes'], ['get', 'list', 'watch']),
      rule('', ['nodes/status'], ['patch']),
      rule('', ['pods'], ['get']),
    ]),
    ...clusterRole('lab-coredns', COREDNS_USER, [
      rule('', ['services', 'pods', 'namespaces'], ['list', 'watch']),
      rule('discovery.k8s.io', ['endpointslices'], ['list', 'watch']),
    ]),
    ...clusterRole('lab-supervisor', SUPERVISOR_USER, [
      rule('', ['nodes'], ['get', 'list', 'watch']),
      rule('', ['nodes/status'], ['patch']),
      rule('coordination.k8s.io', ['leases'], ['list', 'watch']),
    ]),
  ];
}

/** Nodes' pods and Services, as kubelets, the endpoint controller and people make them; Nodes and Gateways come from `planManifests`. */
export function workloadObjects(topology: Topology): Manifest[] {
  const services = [...topology.services, ...dnsServices(topology)];
  const names = [...new Set(services.map(({ namespace }) => namespace))].filter((name) => !['default', DEFAULT_NAMESPACE].includes(name));
  return [
    ...names.flatMap((name) => [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, account('default', name)]),
    ...topology.nodes.map((node) => pod(agentPod(node.name), DEFAULT_NAMESPACE, AGENT_ACCOUNT, node.name, true)),
    pod('raven-controller', DEFAULT_NAMESPACE, CONTROLLER_ACCOUNT, topology.nodes[0]?.name ?? '', false),
    ...topology.pods.map(({ name, node }) => pod(name, 'default', 'default', node, false)),
    ...[...Map.groupBy(services, ({ namespace, name }) => `${namespace}/${name}`).values()].flatMap((ports) =>
      serviceObjects(ports, topology),
    ),
  ];
}

/** Patch of a pod's status: running, with its address. */
export function podStatus({ ips }: LabPod, { ips: [hostIP] }: LabNode): Manifest {
  return { phase: 'Running', hostIP, podIP: ips[0], podIPs: ips.map((ip) => ({ ip })), conditions: [{ type: 'Ready', status: 'True' }] };
}

function serviceObjects(services: readonly LabService[], topology: Topology): Manifest[] {
  const [first] = services;
  if (first === undefined) return [];
  const { name, namespace, clusterIps, backends } = first;
  const nodeOf = new Map(topology.pods.map((each) => [each.name, each.node]));
  const isNodePort = services.some(({ nodePort }) => nodePort !== undefined);
  const portName = ({ protocol }: LabService): string => protocol.toLowerCase();
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec: {
        clusterIP: clusterIps[0],
        type: isNodePort ? 'NodePort' : 'ClusterIP',
        ports: services.map((each) => ({
          name: portName(each),
          protocol: each.protocol,
          port: each.port,
          targetPort: each.targetPort,
          ...(each.nodePort !== undefined && { nodePort: each.nodePort }),
        })),
      },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: `${name}-lab`, namespace, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: services.map((each) => ({ name: portName(each), protocol: each.protocol, port: each.targetPort })),
      endpoints: backends.map((backend) => ({
        addresses: backend.ips,
        conditions: { ready: true },
        nodeName: nodeOf.get(backend.pod),
        targetRef: { kind: 'Pod', name: backend.pod, namespace: 'default' },
      })),
    },
  ];
}

/** Nothing pulls images here: the pod's program is the lab's. */
function pod(name: string, namespace: string, serviceAccountName: string, nodeName: string, hostNetwork: boolean): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: {
      nodeName,
      serviceAccountName,
      automountServiceAccountToken: false,
      ...(hostNetwork && { hostNetwork }),
      containers: [{ name: 'main', image: 'lab' }],
    },
  };
}

function account(name: string, namespace: string): Manifest {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } };
}

function rule(apiGroup: string, resources: readonly string[], verbs: readonly string[]): Manifest {
  return { apiGroups: [apiGroup], resources, verbs };
}

function clusterRole(name: string, user: string, rules: readonly Manifest[]): Manifest[] {
  const group = 'rbac.authorization.k8s.io';
  return [
    { apiVersion: `${group}/v1`, kind: 'ClusterRole', metadata: { name }, rules },
    {
      apiVersion: `${group}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: group, kind: 'ClusterRole', name },
      subjects: [{ apiGroup: group, kind: 'User', name: user }],
    },
  ];
}
