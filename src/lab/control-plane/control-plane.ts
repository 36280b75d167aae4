import { mkdir, writeFile } from 'node:fs/promises';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { createCa, issueCertificate, type KeyPair } from '../../net/certificate.ts';

/** A real etcd and kube-apiserver of one machine, as the lab and the tests start them. */
export interface ControlPlaneOptions {
  /** Keeps keys, certificates, kubeconfigs and etcd's data. */
  readonly dir: string;
  readonly etcd: string;
  readonly apiServer: string;
  /** Address that the API server listens on and is known by. */
  readonly address: string;
  readonly port: number;
  /** Ports of etcd on 127.0.0.1: for clients, and for peers that never come. */
  readonly etcdPorts: readonly [number, number];
  readonly serviceCidr: string;
  /** First address of `serviceCidr`: the Service `kubernetes`. */
  readonly serviceIp: string;
  /** Publish the address as endpoint of the Service `kubernetes`; impossible for a loopback address. */
  readonly advertise: boolean;
}

export interface ControlPlane {
  readonly etcdArgv: readonly [string, ...string[]];
  readonly apiServerArgv: readonly [string, ...string[]];
  readonly url: string;
  /** PEM file of the API server's CA. */
  readonly caFile: string;
  readonly ca: KeyPair;
  /** Kubeconfig of a cluster administrator (group `system:masters`). */
  readonly adminKubeconfig: string;
}

const YEAR_MS = 365 * 24 * 3_600_000;
/** A clock that lags a little behind ours must find them valid. */
const SKEW_MS = 3_600_000;

/** How its two programs are started. Pure. */
export function controlPlanePrograms(options: ControlPlaneOptions): Pick<ControlPlane, 'etcdArgv' | 'apiServerArgv'> {
  return { etcdArgv: etcdArgv(options), apiServerArgv: apiServerArgv(options) };
}

/** Writes keys, certificates and the administrator's kubeconfig below `dir`; starts nothing. */
export async function prepareControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { dir, address, port, serviceIp } = options;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const notBefore = new Date(Date.now() - SKEW_MS);
  const notAfter = new Date(Date.now() + YEAR_MS);
  const ca = await createCa('raven-lab-ca', notBefore, notAfter);
  const server = await issueCertificate(ca, {
    commonName: 'kube-apiserver',
    dnsNames: ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local'],
    ipAddresses: [...new Set([address, serviceIp, '127.0.0.1'])],
    usages: ['server'],
    notBefore,
    notAfter,
  });
  const admin = await issueCertificate(ca, {
    commonName: 'admin',
    organizations: ['system:masters'],
    usages: ['client'],
    notBefore,
    notAfter,
  });
  const tokens = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const url = `https://${address.includes(':') ? `[${address}]` : address}:${port}`;
  const adminKubeconfig = join(dir, 'admin.kubeconfig');
  const files: readonly [string, string][] = [
    ['ca.crt', ca.certificate],
    ['server.crt', server.certificate],
    ['server.key', server.key],
    ['tokens.pub', tokens.publicKey],
    ['tokens.key', tokens.privateKey],
    ['admin.kubeconfig', kubeconfig({ url, ca: ca.certificate, user: { certificate: admin.certificate, key: admin.key } })],
  ];
  for (const [name, text] of files) await writeFile(join(dir, name), text, { mode: 0o600 });
  return {
    ...controlPlanePrograms(options),
    url,
    ca,
    caFile: join(dir, 'ca.crt'),
    adminKubeconfig,
  };
}

/** A kubeconfig (JSON, which is YAML) for one user of one cluster. */
export function kubeconfig(parts: {
  readonly url: string;
  readonly ca: string;
  readonly user: { readonly certificate: string; readonly key: string } | { readonly token: string };
}): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const user =
    'token' in parts.user
      ? { token: parts.user.token }
      : { 'client-certificate-data': base64(parts.user.certificate), 'client-key-data': base64(parts.user.key) };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster: { server: parts.url, 'certificate-authority-data': base64(parts.ca) } }],
    users: [{ name: 'lab', user }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'lab' } }],
    'current-context': 'lab',
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

function etcdArgv({ etcd, dir, etcdPorts: [client, peer] }: ControlPlaneOptions): readonly [string, ...string[]] {
  return [
    etcd,
    `--data-dir=${join(dir, 'etcd')}`,
    '--name=lab',
    `--listen-client-urls=http://127.0.0.1:${client}`,
    `--advertise-client-urls=http://127.0.0.1:${client}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-cluster=lab=http://127.0.0.1:${peer}`,
    // A lab's data need not outlive the machine.
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

function apiServerArgv(options: ControlPlaneOptions): readonly [string, ...string[]] {
  const { apiServer, dir, address, port, etcdPorts, serviceCidr, advertise } = options;
  const file = (name: string): string => join(dir, name);
  return [
    apiServer,
    `--etcd-servers=http://127.0.0.1:${etcdPorts[0]}`,
    `--bind-address=${address}`,
    `--secure-port=${port}`,
    ...(advertise ? [`--advertise-address=${address}`] : ['--endpoint-reconciler-type=none']),
    `--tls-cert-file=${file('server.crt')}`,
    `--tls-private-key-file=${file('server.key')}`,
    `--client-ca-file=${file('ca.crt')}`,
    `--service-account-key-file=${file('tokens.pub')}`,
    `--service-account-signing-key-file=${file('tokens.key')}`,
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    '--authorization-mode=Node,RBAC',
    `--service-cluster-ip-range=${serviceCidr}`,
    // DaemonSet pods have host network and capabilities.
    '--allow-privileged=true',
    // Nothing here runs the controllers that these wait for.
    '--disable-admission-plugins=DefaultStorageClass,StorageObjectInUseProtection,RuntimeClass',
    '--profiling=false',
    '--v=1',
  ];
}
