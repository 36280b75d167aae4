import { describe, expect, inject, it } from 'vitest';
import { kubectl, startApiServer } from './api-server.ts';

const { kubeconfig, missing } = inject('kube');

describe.skipIf(missing !== undefined)('the API server of these tests', () => {
  it('is a real one of the version that the cache was built for', async () => {
    const { serverVersion } = JSON.parse(await kubectl(kubeconfig, ['version', '-o', 'json'])) as { serverVersion: { gitVersion: string } };
    expect(serverVersion.gitVersion).toMatch(/^v1\.\d+\.\d+$/);
  });

  it('keeps its objects when it is killed and started again', async () => {
    const server = await startApiServer();
    try {
      await kubectl(server.adminKubeconfig, ['create', 'configmap', 'kept']);
      await server.killApiServer();
      await expect(kubectl(server.adminKubeconfig, ['get', 'configmap', 'kept', '--request-timeout=2s'])).rejects.toThrow(/refused/);
      await server.restartApiServer();
      expect(await kubectl(server.adminKubeconfig, ['get', 'configmap', 'kept', '-o', 'name'])).toBe('configmap/kept\n');
    } finally {
      await server.stop();
    }
  });
});
