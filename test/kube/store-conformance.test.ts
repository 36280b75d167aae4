import { describe, inject } from 'vitest';
import { storeConformance } from '../../src/store/conformance.ts';
import { createKubeStore, type KubeStore } from '../../src/store/kube/kube-store.ts';
import { createObject, deleteObjects, openClient } from './clients.ts';
import { kubectl } from './api-server.ts';

const { kubeconfig, missing } = inject('kube');

describe.skipIf(missing !== undefined)('the kube store, on a real API server', () => {
  storeConformance(async (objects) => {
    const client = await openClient(kubeconfig);
    await deleteObjects(client);
    await kubectl(kubeconfig, ['create', 'namespace', 'kube-node-lease']).catch(() => undefined);
    for (const object of objects) await createObject(client, object);
    const open = async (): Promise<KubeStore> => createKubeStore({ client: await openClient(kubeconfig), fieldManager: 'raven-test' });
    const [store, other] = [await open(), await open()];
    return {
      store,
      other,
      close: async () => {
        await store.close();
        await other.close();
        await deleteObjects(client);
        await client.close();
      },
    };
  });
});
