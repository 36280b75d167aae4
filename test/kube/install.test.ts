import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { MANIFESTS_FILE, renderManifests } from '../../scripts/generate/manifests.ts';
import { createLeaseKeeper } from '../../src/agent/lease-keeper.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { Logger } from '../../src/lib/logger.ts';
import { openKube } from '../../src/store/open-store.ts';
import { compareText } from '../../src/lib/compare.ts';
import { kubeconfig } from '../../src/lab/control-plane/control-plane.ts';
import { AGENT_DAEMONSET, AGENT_LEASE_PREFIX } from '../../src/api/names.ts';
import { webhookConfigurations } from '../../src/webhook/configurations.ts';
import { type ApiServer, CHECKOUT, freePorts, kubeBinaries, kubectl, startApiServer } from './api-server.ts';
import { type RavenProcess, startRaven } from './raven-process.ts';

const { missing } = inject('kube');
const helmFile = kubeBinaries().paths.get('helm');
const CHART = join(CHECKOUT, 'deploy/chart/raven');
const NAMESPACE = 'kube-system';
const SECRET = ['--set', 'vpn.psk=test-only-Kp3vX9qLmT7wZr2sBn8dYc5hGf4jUe6a'];
const PATIENCE = { timeout: 60_000, interval: 100 };

const TUNNEL_ENDPOINT = (name: string) => ({
  apiVersion: 'raven.openyurt.io/v1beta1',
  kind: 'TunnelEndpoint',
  metadata: { name },
  spec: { gateway: 'a', nodeName: name, driver: 'ipsec', dataPath: 'kernel', port: 4500, underlayMtu: 1500 },
});
const LEASE = (name: string) => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name, namespace: NAMESPACE },
  spec: { holderIdentity: name },
});
const GATEWAY = {
  apiVersion: 'raven.openyurt.io/v1beta1',
  kind: 'Gateway',
  metadata: { name: 'a' },
  spec: { exposeType: 'LoadBalancer', tunnelConfig: { Replicas: 1 }, endpoints: [{ nodeName: 'a1', type: 'tunnel' }] },
};

/** `helm install` into an empty cluster, what each account may do there, and what is left after `helm uninstall`. */
describe.skipIf(missing !== undefined || helmFile === undefined)('an installation', () => {
  let server: ApiServer;
  let dir: string;
  let controller: RavenProcess | undefined;

  const helm = (...args: string[]): { status: number | null; output: string } => {
    const { status, stdout, stderr } = spawnSync(helmFile!, args, {
      encoding: 'utf8',
      env: { ...process.env, KUBECONFIG: server.adminKubeconfig, HELM_CACHE_HOME: dir, HELM_CONFIG_HOME: dir, HELM_DATA_HOME: dir },
    });
    return { status, output: stdout + stderr };
  };
  const admin = (args: readonly string[], stdin?: unknown): Promise<string> =>
    kubectl(server.adminKubeconfig, args, stdin === undefined ? '' : JSON.stringify(stdin));
  /** A kubeconfig of an account, with a token that is bound to a pod as kubelets bind them. */
  async function configOf(account: string, pod: string): Promise<string> {
    const bound = pod === '' ? [] : ['--bound-object-kind=Pod', `--bound-object-name=${pod}`];
    const token = (await admin(['create', 'token', account, '-n', NAMESPACE, ...bound])).trim();
    const file = join(dir, `${account}-${pod}.kubeconfig`);
    await writeFile(file, kubeconfig({ url: server.url, ca: server.ca.certificate, user: { token } }), { mode: 0o600 });
    return file;
  }

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'raven-install-'));
    server = await startApiServer();
  });

  afterAll(async () => {
    await controller?.stop('SIGKILL');
    await server?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('needs a secret of its own, and names every value that is wrong', () => {
    const wrong = (...args: string[]): string => helm('template', 'raven', CHART, ...args).output;
    expect(wrong()).toContain('vpn.psk is required, as there is no default');
    expect(wrong('--set', 'vpn.psk=OPENYURT-RAVEN-AGENT-VPN-PSK')).toContain("at '/vpn/psk'");
    expect(wrong(...SECRET, '--set', 'vpn.existingSecret=other')).toContain('choose one');
    expect(wrong(...SECRET, '--set', 'vpn.forwardNodeIP=maybe,controller.replica=3')).toMatch(
      /\/vpn\/forwardNodeIP[^]*'replica' not allowed|'replica' not allowed[^]*\/vpn\/forwardNodeIP/,
    );
    expect(helm('lint', CHART, ...SECRET).status).toBe(0);
  });

  it('needs none with WireGuard, and takes one', () => {
    const wireguard = (...args: string[]): string => helm('template', 'raven', CHART, '--set', 'vpn.driver=wireguard', ...args).output;
    expect(wireguard()).toMatch(/vpn-driver: "?wireguard/);
    expect(wireguard()).not.toContain('VPN_CONNECTION_PSK');
    expect(wireguard(...SECRET)).toMatch(/VPN_CONNECTION_PSK\s+valueFrom: \{ secretKeyRef: \{ name: raven-agent-secret,/);
  });

  it('gives agents that are to drain the time for it, and charon too', () => {
    const { output } = helm('template', 'raven', CHART, ...SECRET, '--set', 'drain.onStop=true,drain.timeoutSeconds=45');
    expect(output.match(/- --drain\n/g)).toHaveLength(1);
    expect(output.match(/- --drain-timeout=45\n/g)).toHaveLength(2);
    expect(output).toContain('terminationGracePeriodSeconds: 65');
    expect(helm('template', 'raven', CHART, ...SECRET).output).not.toContain('--drain');
    expect(helm('template', 'raven', CHART, ...SECRET, '--set', 'drain.timeoutSeconds=0').output).toMatch(/drain\/timeoutSeconds/);
  });

  it('is the same without Helm, and declares the webhooks that the controller serves', () => {
    const rendered = renderManifests(process.env);
    expect(readFileSync(join(CHECKOUT, MANIFESTS_FILE), 'utf8')).toBe(rendered);
    const objects = parseAllDocuments(rendered!).map((each) => each.toJS() as { kind: string });
    expect(objects.filter(({ kind }) => kind.endsWith('WebhookConfiguration'))).toEqual(
      expect.arrayContaining([...webhookConfigurations()]),
    );
  });

  it('is accepted whole by a real API server, and upgraded', async () => {
    const installed = helm('install', 'raven', CHART, '-n', NAMESPACE, ...SECRET);
    expect(installed.output).toContain('STATUS: deployed');
    expect(helm('upgrade', 'raven', CHART, '-n', NAMESPACE, ...SECRET, '--set', 'controller.replicas=3').status).toBe(0);
    expect(await admin(['get', 'deployment', 'raven-controller', '-n', NAMESPACE, '-o', 'jsonpath={.spec.replicas}'])).toBe('3');
    const templates =
      'jsonpath={range .items[*]}{.metadata.name}{" "}{.spec.template.spec.containers[*].name}{" "}{.spec.updateStrategy.type}{"\\n"}{end}';
    // What carries the tunnels is not replaced with the agents (R21).
    expect(await admin(['get', 'daemonsets', '-n', NAMESPACE, '-o', templates])).toBe(
      `${AGENT_DAEMONSET} agent RollingUpdate\nraven-vpn-ds charon OnDelete\n`,
    );
    // The manifests without Helm, over those with it.
    await kubectl(server.adminKubeconfig, [
      'apply',
      '--server-side',
      '--force-conflicts',
      '--dry-run=server',
      '-f',
      join(CHECKOUT, MANIFESTS_FILE),
    ]);
  });

  it('starts its programs with flags that they know', () => {
    const rendered =
      helm('template', 'raven', CHART, ...SECRET).output + helm('template', 'raven', CHART, ...SECRET, '--set', 'cleanup=true').output;
    const objects = parseAllDocuments(rendered).map(
      (each) => each.toJS() as { spec?: { template?: { spec?: Record<string, unknown> } } } | null,
    );
    const containers = objects.flatMap((each) => {
      const { containers = [], initContainers = [] } = (each?.spec?.template?.spec ?? {}) as Record<
        string,
        { name: string; args?: string[] }[]
      >;
      return [...containers, ...initContainers];
    });
    const commands = containers.flatMap(({ args }) => (args === undefined ? [] : [args]));
    expect(commands.map(([command = '']) => command).toSorted(compareText)).toEqual([
      'agent',
      'agent',
      'charon',
      'controller',
      'controller',
    ]);
    for (const [command = '', ...flags] of commands) {
      const help = spawnSync(join(CHECKOUT, 'bin/raven'), [command, '--help'], { encoding: 'utf8' }).stdout;
      for (const flag of flags) expect(help, `raven ${command} ${flag}`).toContain(`${flag.split('=')[0]} `);
    }
  });

  it('lets each account do what it needs, and nothing else', async () => {
    const rights = async (account: string): Promise<string[]> => {
      const text = await admin([
        'auth',
        'can-i',
        '--list',
        '-n',
        NAMESPACE,
        '--no-headers',
        `--as=system:serviceaccount:${NAMESPACE}:${account}`,
      ]);
      const lines = text.split('\n').map((line) => line.trim().replaceAll(/ {2,}/g, '  '));
      // What every account may do: ask about itself, and read the API's description.
      return lines
        .filter((line) => line !== '' && !/self|^\[\/|^\[?\S*\/\*?\]|^ *\[\]|\[\/(api|healthz|livez|openapi|readyz|version)/.test(line))
        .toSorted();
    };
    expect(await rights('raven-agent-account')).toMatchInlineSnapshot(`
      [
        "gateways.raven.openyurt.io  []  []  [get list watch]",
        "leases.coordination.k8s.io  []  []  [get create update]",
        "tunnelendpoints.raven.openyurt.io  []  []  [get list watch create patch delete]",
        "tunnelendpoints.raven.openyurt.io/status  []  []  [patch]",
      ]
    `);
    expect(await rights('raven-controller-account')).toMatchInlineSnapshot(`
      [
        "blockaffinities.crd.projectcalico.org  []  []  [get list watch]",
        "configmaps  []  []  [get list watch]",
        "customresourcedefinitions.apiextensions.k8s.io  []  [gateways.raven.openyurt.io]  [get patch]",
        "endpointslices.discovery.k8s.io  []  []  [get list watch create patch delete]",
        "gateways.raven.openyurt.io  []  []  [get list watch]",
        "gateways.raven.openyurt.io/status  []  []  [patch]",
        "leases.coordination.k8s.io  []  []  [list watch create]",
        "leases.coordination.k8s.io  []  [raven-controller]  [get update]",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io  []  [raven-mutating-webhook]  [get patch]",
        "nodes  []  []  [get list watch]",
        "secrets  []  []  [create]",
        "secrets  []  [raven-webhook-cert]  [get update]",
        "services  []  []  [get list watch create patch delete]",
        "tunnelendpoints.raven.openyurt.io  []  []  [get list watch]",
        "validatingwebhookconfigurations.admissionregistration.k8s.io  []  [raven-validating-webhook]  [get patch]",
      ]
    `);
  });

  describe('with agents on two nodes', () => {
    let a1: string;
    let b1: string;

    beforeAll(async () => {
      await admin(['create', 'serviceaccount', 'default', '-n', NAMESPACE]).catch(() => undefined);
      for (const node of ['a1', 'b1']) {
        await admin(['apply', '-f', '-'], { apiVersion: 'v1', kind: 'Node', metadata: { name: node } });
        const spec = { nodeName: node, serviceAccountName: 'raven-agent-account', containers: [{ name: 'agent', image: 'raven' }] };
        await admin(['apply', '-f', '-'], {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: `agent-${node}`, namespace: NAMESPACE },
          spec,
        });
      }
      a1 = await configOf('raven-agent-account', 'agent-a1');
      b1 = await configOf('raven-agent-account', 'agent-b1');
      // The policy takes a moment to come into force.
      await vi.waitFor(
        () =>
          expect(
            kubectl(b1, ['apply', '--server-side', '--dry-run=server', '-f', '-'], JSON.stringify(TUNNEL_ENDPOINT('a1'))),
          ).rejects.toThrow(/may only write b1/),
        PATIENCE,
      );
    });

    const apply = (config: string, object: unknown, ...args: string[]): Promise<string> =>
      kubectl(config, ['apply', '--server-side', '--force-conflicts', '-f', '-', ...args], JSON.stringify(object));

    it('lets an agent write its own TunnelEndpoint and Lease', async () => {
      await apply(a1, TUNNEL_ENDPOINT('a1'));
      await apply(a1, { ...TUNNEL_ENDPOINT('a1'), status: { links: [], conditions: [] } }, '--subresource=status');
      await kubectl(a1, ['create', '-f', '-'], JSON.stringify(LEASE(`${AGENT_LEASE_PREFIX}a1`)));
      await apply(b1, TUNNEL_ENDPOINT('b1'));
      await kubectl(b1, ['delete', 'tunnelendpoint', 'b1']);
      expect(await kubectl(b1, ['get', 'gateways,tunnelendpoints', '-o', 'name'])).toContain('tunnelendpoint.raven.openyurt.io/a1');
    });

    it('renews that Lease with the rights that it has', async () => {
      const store = await openKube(`kube:${a1}`, { env: {} });
      const warnings: string[] = [];
      const note = (_: unknown, message?: string): void => void warnings.push(message ?? '');
      const log = { info: note, warn: note } as unknown as Logger;
      const keeper = createLeaseKeeper({ node: 'a1', namespace: NAMESPACE, store, clock: systemClock, log });
      const renewed = (): Promise<string> =>
        admin(['get', 'lease', `${AGENT_LEASE_PREFIX}a1`, '-n', NAMESPACE, '-o', 'jsonpath={.spec.renewTime}']);
      try {
        keeper.set(true);
        await vi.waitFor(async () => expect(await renewed()).not.toBe(''), PATIENCE);
        expect(warnings).toEqual([]);
      } finally {
        await keeper.close();
        await store.close();
      }
    });

    it("refuses an agent that writes another node's objects, in every way", async () => {
      const own = /node b1 may only write/;
      await expect(apply(b1, TUNNEL_ENDPOINT('a1'))).rejects.toThrow(own);
      await expect(apply(b1, TUNNEL_ENDPOINT('c1'))).rejects.toThrow(own);
      await expect(apply(b1, { ...TUNNEL_ENDPOINT('a1'), status: { links: [] } }, '--subresource=status')).rejects.toThrow(own);
      await expect(kubectl(b1, ['create', '-f', '-'], JSON.stringify(TUNNEL_ENDPOINT('c1')))).rejects.toThrow(own);
      await expect(kubectl(b1, ['patch', 'tunnelendpoint', 'a1', '--type=merge', '-p', '{"spec":{"port":1}}'])).rejects.toThrow(own);
      await expect(kubectl(b1, ['delete', 'tunnelendpoint', 'a1'])).rejects.toThrow(own);
      await expect(kubectl(b1, ['create', '-f', '-'], JSON.stringify(LEASE(`${AGENT_LEASE_PREFIX}c1`)))).rejects.toThrow(own);
      await expect(kubectl(b1, ['create', '-f', '-'], JSON.stringify(LEASE('raven-controller')))).rejects.toThrow(own);
      await expect(kubectl(b1, ['delete', 'tunnelendpoints', '--all'])).rejects.toThrow(own);
      await expect(kubectl(b1, ['delete', '--raw', '/apis/raven.openyurt.io/v1beta1/tunnelendpoints'])).rejects.toThrow(
        /cannot deletecollection/,
      );
    });

    it('refuses every agent that touches a Gateway, and every token that is bound to no node', async () => {
      await admin(['apply', '-f', '-'], GATEWAY);
      await expect(apply(b1, GATEWAY)).rejects.toThrow(/cannot patch resource "gateways"/);
      await expect(apply(b1, { ...GATEWAY, status: {} }, '--subresource=status')).rejects.toThrow(
        /cannot patch resource "gateways\/status"/,
      );
      await expect(kubectl(b1, ['delete', 'gateway', 'a'])).rejects.toThrow(/cannot delete resource "gateways"/);
      const unbound = await configOf('raven-agent-account', '');
      await expect(apply(unbound, TUNNEL_ENDPOINT('a1'))).rejects.toThrow(/must be bound to a pod on a node/);
    });

    it('lets the controller do all of its work with the rights that it has', async () => {
      const ready = { conditions: [{ type: 'Ready', status: 'True' }], addresses: [{ type: 'InternalIP', address: '192.0.2.7' }] };
      await admin(['label', 'node', 'a1', 'raven.openyurt.io/gateway=a']);
      await admin(['patch', 'node', 'a1', '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: ready })]);
      const [port, healthPort] = await freePorts(3);
      const flags = ['--webhook-port', String(port), '--health-bind-address', `127.0.0.1:${healthPort}`];
      controller = startRaven('controller', '--store', `kube:${await configOf('raven-controller-account', '')}`, ...flags);
      await controller.logged('all Gateways are up to date');
      await vi.waitFor(async () => {
        expect(await admin(['get', 'gateway', 'a', '-o', 'jsonpath={.status.active}'])).toBe('a1');
        expect(await admin(['get', 'services', '-n', NAMESPACE, '-l', 'raven.openyurt.io/gateway=a', '-o', 'name'])).toContain(
          'x-raven-tunnel-svc-a-',
        );
        expect(await admin(['get', 'endpointslices', '-n', NAMESPACE, '-l', 'raven.openyurt.io/gateway=a', '-o', 'name'])).toContain(
          'x-raven-tunnel-svc-a-',
        );
        expect(await admin(['get', 'events', '-o', 'jsonpath={.items[*].reason}'])).toContain('ActiveEndpointElected');
        const bundle = 'jsonpath={.webhooks[0].clientConfig.caBundle}';
        expect(await admin(['get', 'validatingwebhookconfiguration', 'raven-validating-webhook', '-o', bundle])).not.toBe('');
        expect((await fetch(`http://127.0.0.1:${healthPort}/readyz`)).status).toBe(200);
      }, PATIENCE);
      await admin(['delete', 'gateway', 'a']);
      await vi.waitFor(
        async () => expect(await admin(['get', 'services', '-n', NAMESPACE, '-l', 'raven.openyurt.io/gateway=a', '-o', 'name'])).toBe(''),
        PATIENCE,
      );
      expect(controller.messages.filter((each) => /cannot|could not|failed/.test(each))).toEqual([]);
      expect(await controller.stop()).toBe(0);
    });
  });

  it('cleans the nodes in place of the agents when told to, and leaves only what is documented', async () => {
    expect(helm('upgrade', 'raven', CHART, '-n', NAMESPACE, ...SECRET, '--set', 'cleanup=true').status).toBe(0);
    expect(await admin(['get', 'daemonsets', '-n', NAMESPACE, '-o', 'name'])).toBe('daemonset.apps/raven-cleanup\n');
    expect(helm('uninstall', 'raven', '-n', NAMESPACE).output).toContain('uninstalled');
    const kinds = 'deployments,daemonsets,services,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,poddisruptionbudgets';
    const clusterKinds =
      'clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,validatingwebhookconfigurations,mutatingwebhookconfigurations,crd';
    const left = [
      await admin(['get', kinds, '-n', NAMESPACE, '-o', 'name']),
      await admin(['get', 'roles,rolebindings', '-n', 'default', '-o', 'name']),
      await admin(['get', clusterKinds, '-o', 'name']),
    ];
    const ours = left
      .join('')
      .split('\n')
      .filter((line) => /raven/.test(line) && !/release/.test(line));
    expect(ours.toSorted()).toEqual([
      'customresourcedefinition.apiextensions.k8s.io/gateways.raven.openyurt.io',
      'customresourcedefinition.apiextensions.k8s.io/tunnelendpoints.raven.openyurt.io',
      'lease.coordination.k8s.io/raven-agent-a1',
      'lease.coordination.k8s.io/raven-controller',
      'secret/raven-webhook-cert',
    ]);
  });
});
