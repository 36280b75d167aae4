import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, Lab, type LabNode, must, run } from '../lab/harness.ts';
import { kubeBinaries, whyNoApiServer } from '../kube/api-server.ts';
import { missingKubePrograms } from '../../src/lab/control-plane/binaries.ts';

const RAVEN = fileURLToPath(new URL('../../bin/raven', import.meta.url));
const missing = whyNoApiServer() ?? missingKubePrograms(kubeBinaries())[0];
if (missing !== undefined) process.stdout.write(`skipped: ${missing} not found: run scripts/setup.sh kube\n`);

/** Real API server, flannel, kube-proxy and CoreDNS; agents and controller with no more rights than the chart gives them. */
describe.skipIf(missing !== undefined)('the rig on Kubernetes', () => {
  let lab: Lab;
  let nodes: readonly LabNode[];

  beforeAll(async () => {
    lab = await Lab.up('rig', '--store', 'kube', '--timeout', '180');
    ({ nodes } = await lab.list());
  });
  afterAll(() => lab?.down());

  const kubectl = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await lab.exec('control', 'kubectl', ...args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const node = (name: string): LabNode => nodes.find((each) => each.name === name)!;
  const drift = async ({ name, netns }: LabNode): Promise<string> => {
    const home = `/run/raven-lab/${lab.name}/nodes/${name}`;
    const argv = ['plan', '--store', `kube:${home}/agent.kubeconfig`, '--node', name, '--diff', '--run-dir', `${home}/run`];
    const { code, stdout, stderr } = await run(['ip', 'netns', 'exec', netns, RAVEN, ...argv]);
    if (code !== 0 && code !== 1) throw new Error(stderr);
    return stdout;
  };
  const settled = async (of = nodes): Promise<void> => {
    for (const each of of) await eventually(`${each.name} is as planned`, async () => (await drift(each)) === '');
  };
  /** Raven's routes of a node, or those that carry a prefix; `ip` fails as long as the table was never used. */
  const routes = (name: string, ...match: string[]): Promise<string> =>
    must(['ip', '-n', node(name).netns, 'route', 'show', 'table', '9027', ...match]).catch(() => '');
  const rules = (name: string): Promise<string> => must(['ip', '-n', node(name).netns, '-d', 'rule', 'show']);

  it('carries every pair of pods, and every Service by address, name and node port (R1, R3, R4)', async () => {
    const matrix = await lab.expectMatrix('--services');
    expect(matrix.pairs).toHaveLength(42);
  });

  it('shows active node and tunnels in kubectl get gateways (R40)', async () => {
    await eventually('all tunnels are shown as up', async () => /^b +b1 +2\/2 /m.test(await kubectl('get', 'gateways')));
  });

  it('refuses a Gateway that the contract forbids, and names the field (R45)', async () => {
    const patch = JSON.stringify({ spec: { endpoints: [{ nodeName: 'b1', type: 'tunnel', publicIP: 'here' }] } });
    await expect(kubectl('patch', 'gateway', 'b', '--type=merge', '-p', patch)).rejects.toThrow(/spec\.endpoints\[0\]\.publicIP/);
  });

  it('follows CIDRs and labels, and leaves nothing stale (R11, R26)', async () => {
    const annotation = 'raven.openyurt.io/extra-allowed-source-cidrs';
    await kubectl('annotate', 'gateway', 'b', `${annotation}=10.77.0.0/16`);
    await eventually('c2 routes the CIDR', async () => (await routes('c2', 'match', '10.77.0.0/16')) !== '');
    await kubectl('annotate', 'gateway', 'b', `${annotation}-`);
    await eventually('c2 routes it no more', async () => (await routes('c2', 'match', '10.77.0.0/16')) === '');

    const cidr = node('b2').podCIDR;
    await kubectl('label', 'node', 'b2', 'raven.openyurt.io/gateway-');
    await eventually('c2 forgets the node', async () => (await routes('c2', 'match', cidr)) === '');
    await settled(nodes.filter(({ name }) => name !== 'b2'));
    await eventually('b2 carries nothing of ours', async () => (await routes('b2')) === '' && !(await rules('b2')).includes('proto 82'));
    await kubectl('label', 'node', 'b2', 'raven.openyurt.io/gateway=b');
    await eventually('c2 knows the node again', async () => (await routes('c2', 'match', cidr)) !== '');
    await settled();
    await lab.expectMatrix('--from', 'b2');
  });

  it('goes on without the API server, also with an agent that starts meanwhile (R22 a, b)', async () => {
    await lab.raven('lab', 'kill', 'control/apiserver');
    await lab.raven('lab', 'kill', 'b1/agent');
    await lab.raven('lab', 'kill', 'b1/charon');
    await lab.raven('lab', 'start', 'b1/agent');
    await eventually('b reaches c', async () => (await lab.matrix('--from', 'b', '--to', 'c')).ok);
    await lab.raven('lab', 'start', 'control/apiserver');
    await eventually('the API server is back', () => kubectl('get', '--raw', '/readyz').then(() => true));
    await settled();
  });

  it('keeps the gateway of a region whose nodes all went away at once (R22 c)', async () => {
    await Promise.all(['b1', 'b2', 'b3'].map((name) => lab.raven('lab', 'kill', `${name}/kubelet`)));
    await eventually('B is not ready', async () => !/ Ready /.test(await kubectl('get', 'nodes', 'b1', 'b2', 'b3')));
    await lab.expectMatrix('--from', 'c', '--to', 'b');
    expect(await kubectl('get', 'gateway', 'b', '-o', 'jsonpath={.status.activeEndpoints[*].nodeName}')).toBe('b1');
    for (const name of ['b1', 'b2', 'b3']) await lab.raven('lab', 'start', `${name}/kubelet`);
    await eventually('B is ready', async () => !/ (NotReady|Unknown) /.test(await kubectl('get', 'nodes')));
  });
});
