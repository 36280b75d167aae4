import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../lib/errors.ts';
import { findCluster } from './cluster-access.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'raven-access-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Writes a kubeconfig with one context, named like its cluster and user. */
async function write(name: string, cluster: string, user: object = { token: 'static' }): Promise<string> {
  const file = join(dir, name);
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: cluster, cluster: { server: `https://${cluster}.example.org:6443` } }],
    users: [{ name: cluster, user }],
    contexts: [{ name: cluster, context: { cluster, user: cluster } }],
    'current-context': cluster,
  };
  await writeFile(file, JSON.stringify(config));
  return file;
}

describe('finding the cluster', () => {
  it('takes the file that was named, else KUBECONFIG, else ~/.kube/config, else the pod it is in', async () => {
    await mkdir(join(dir, '.kube'));
    const [file, KUBECONFIG] = [await write('named', 'named'), await write('from-env', 'env')];
    await write('.kube/config', 'home');
    const pod = { KUBERNETES_SERVICE_HOST: '2001:db8::1', KUBERNETES_SERVICE_PORT: '6443' };
    const hosts = [];
    for (const source of [
      { file, env: { KUBECONFIG, HOME: dir, ...pod } },
      { env: { KUBECONFIG, HOME: dir, ...pod } },
      { env: { HOME: dir, ...pod } },
      { env: { HOME: join(dir, 'elsewhere'), ...pod } },
    ]) {
      hosts.push((await findCluster(source)).server.host);
    }
    expect(hosts).toEqual(['named.example.org:6443', 'env.example.org:6443', 'home.example.org:6443', '[2001:db8::1]:6443']);
  });

  it('says what was looked for when there is nothing', async () => {
    await expect(findCluster({ env: { HOME: dir } })).rejects.toThrow(
      `--store: no Kubernetes cluster is known: KUBECONFIG is not set, there is no ${dir}/.kube/config, and this is not a pod`,
    );
  });

  it('merges the files of KUBECONFIG, and takes the context that is asked for', async () => {
    const KUBECONFIG = [await write('one', 'one'), await write('two', 'two')].join(':');
    // The same names again do no harm, and files that are not there neither.
    const again = `${KUBECONFIG}:${KUBECONFIG}:${join(dir, 'none')}`;
    expect((await findCluster({ env: { KUBECONFIG: again } })).server.host).toBe('one.example.org:6443');
    expect((await findCluster({ env: { KUBECONFIG } })).server.host).toBe('one.example.org:6443');
    expect((await findCluster({ env: { KUBECONFIG }, context: 'two' })).server.host).toBe('two.example.org:6443');
    await expect(findCluster({ env: { KUBECONFIG }, context: 'three' })).rejects.toBeInstanceOf(UserError);
  });

  it('names the file that is no kubeconfig, or not there', async () => {
    const file = join(dir, 'broken');
    await expect(findCluster({ file, env: {} })).rejects.toThrow(`${file}: no kubeconfig`);
    await writeFile(file, 'clusters: {');
    await expect(findCluster({ file, env: {} })).rejects.toThrow(`${file}: no kubeconfig`);
  });

  it('reads a token file again when its token is refused', async () => {
    const file = await write('rotating', 'rotating', { tokenFile: 'token' });
    await writeFile(join(dir, 'token'), 'first\n');
    const { options } = await findCluster({ file, env: {} });
    expect(await options(false)).toMatchObject({ headers: { authorization: 'Bearer first' } });
    await writeFile(join(dir, 'token'), 'second\n');
    expect(await options(false)).toMatchObject({ headers: { authorization: 'Bearer first' } });
    expect(await options(true)).toMatchObject({ headers: { authorization: 'Bearer second' } });
    expect(await options(false)).toMatchObject({ headers: { authorization: 'Bearer second' } });
  });

  it('says that a pod has no identity', async () => {
    const { options } = await findCluster({ env: { KUBERNETES_SERVICE_HOST: '192.0.2.1' } });
    await expect(options(false)).rejects.toThrow(/the pod's service account cannot be read: ENOENT/);
  });
});
