import { join } from 'node:path';
import { prefixLength } from '../net/cidr.ts';
import { type LabPaths, labPaths } from './paths.ts';
import { CONTROL, CONTROL_IP, kubernetesServiceIp } from './plan/control.ts';
import { netnsName } from './plan/names.ts';
import type { LabProcess } from './programs.ts';
import type { KubePrograms, LabState } from './state.ts';
import { type ControlPlaneOptions, controlPlanePrograms } from './control-plane/control-plane.ts';
import type { IptablesBackend, LabNode } from './topology/resolve.ts';

const API_PORT = 6443;
const ETCD_PORTS = [2379, 2380] as const;

export function controlPlaneOptions({ name, topology }: LabState, { etcd, apiServer }: KubePrograms, root?: string): ControlPlaneOptions {
  return {
    dir: labPaths(name, root).control,
    etcd,
    apiServer,
    address: CONTROL_IP,
    port: API_PORT,
    etcdPorts: ETCD_PORTS,
    serviceCidr: topology.serviceCidrs.join(','),
    serviceIp: kubernetesServiceIp(topology),
    advertise: true,
  };
}

/** etcd and the API server, on their own machine. */
export function controlPrograms(lab: LabState, kube: KubePrograms, root?: string): LabProcess[] {
  const { etcdArgv, apiServerArgv } = controlPlanePrograms(controlPlaneOptions(lab, kube, root));
  const place = (program: string) => ({ id: `${CONTROL}/${program}`, netns: netnsName(lab.name, CONTROL), ...placeOf(lab, program, root) });
  return [
    { ...place('etcd'), program: 'etcd', argv: etcdArgv },
    { ...place('apiserver'), program: 'apiserver', argv: apiServerArgv },
  ];
}

/** What a real node runs beside the kubelet. */
export function nodeKubePrograms(lab: LabState, kube: KubePrograms, node: LabNode, root?: string): LabProcess[] {
  const paths = labPaths(lab.name, root);
  const of = paths.node(node.name);
  const place = (program: string) => ({
    id: `${node.name}/${program}`,
    node: node.name,
    netns: netnsName(lab.name, node.name),
    log: of.log(program),
    pidFile: of.pid(program),
  });
  const { kubeProxy: proxyBackend } = lab.topology;
  return [
    {
      ...place('flanneld'),
      program: 'flanneld',
      argv: withIptables(
        paths,
        flannelBackend(lab.topology),
        [`NODE_NAME=${node.name}`],
        [
          kube.flanneld,
          '-kube-subnet-mgr',
          `-kubeconfig-file=${of.kubeconfig('flanneld')}`,
          `-net-config-path=${paths.dir}/flannel.json`,
          `-subnet-file=${of.run}/flannel.env`,
          `-iface=${node.ips.join(',')}`,
          '-ip-masq',
        ],
      ),
    },
    {
      ...place('kube-proxy'),
      program: 'kube-proxy',
      argv: withIptables(
        paths,
        proxyBackend,
        [],
        [
          kube.kubeProxy,
          `--kubeconfig=${of.kubeconfig('kube-proxy')}`,
          `--hostname-override=${node.name}`,
          '--proxy-mode=iptables',
          `--cluster-cidr=${lab.topology.clusterCidrs.join(',')}`,
          // Limits of the whole machine, which the lab does not touch.
          '--conntrack-max-per-core=0',
          '--conntrack-min=0',
          '--conntrack-tcp-timeout-established=0',
          '--conntrack-tcp-timeout-close-wait=0',
          '--healthz-bind-address=127.0.0.1:10256',
          '--metrics-bind-address=127.0.0.1:10249',
          '--iptables-min-sync-period=0s',
        ],
      ),
    },
  ];
}

/** The cluster's DNS, in its pod. */
export function dnsProgram(lab: LabState, kube: KubePrograms, pod: string, root?: string): LabProcess {
  const { dir } = labPaths(lab.name, root).pod(pod);
  const node = lab.topology.pods.find(({ name }) => name === pod)?.node;
  return {
    id: `${pod}/coredns`,
    program: 'coredns',
    ...(node !== undefined && { node }),
    netns: netnsName(lab.name, pod),
    log: join(dir, 'coredns.log'),
    pidFile: join(dir, 'coredns.pid'),
    argv: [kube.coredns, '-conf', corefile(lab, pod, root)],
  };
}

export function corefile(lab: LabState, pod: string, root?: string): string {
  return join(labPaths(lab.name, root).pod(pod).dir, 'Corefile');
}

/** The variant of iptables that flannel is given; both variants of a topology hold rules, but one program speaks one. */
export function flannelBackend({ masquerade, kubeProxy }: LabState['topology']): IptablesBackend {
  return masquerade[0] ?? kubeProxy;
}

/** flannel's settings (its docs: "Configuration"). */
export function flannelConfig({ clusterCidrs: [network] }: LabState['topology']): string {
  return `${JSON.stringify({ Network: network, SubnetLen: Math.max(24, network === undefined ? 0 : prefixLength(network)), Backend: { Type: 'vxlan' } })}\n`;
}

/** Folder with `iptables` and its companions in one variant: both programs call them by these names. */
export function iptablesFolder(paths: LabPaths, backend: IptablesBackend): string {
  return join(paths.dir, `iptables-${backend}`);
}

function withIptables(
  paths: LabPaths,
  backend: IptablesBackend,
  env: readonly string[],
  argv: readonly [string, ...string[]],
): readonly [string, ...string[]] {
  return ['/usr/bin/env', `PATH=${iptablesFolder(paths, backend)}:/usr/sbin:/usr/bin:/sbin:/bin`, ...env, ...argv];
}

function placeOf(lab: LabState, program: string, root?: string): { readonly log: string; readonly pidFile: string } {
  const { dir } = labPaths(lab.name, root);
  return { log: join(dir, `${program}.log`), pidFile: join(dir, `${program}.pid`) };
}
