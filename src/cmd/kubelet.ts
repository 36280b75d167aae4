import { parseArgs } from 'node:util';
import { runKubelet } from '../lab/kubelet/run.ts';
import { openStore } from '../store/open-store.ts';

/** Stand-in for the kubelet of a lab's node: its heartbeats keep the Node Ready. */
const { values } = parseArgs({ options: { store: { type: 'string' }, node: { type: 'string' } } });
if (values.store === undefined || values.node === undefined) {
  process.stderr.write('usage: kubelet --store dir:DIR|kube:FILE --node NAME\n');
  process.exit(2);
}
const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
const store = await openStore(values.store, { kube: { env: process.env, userAgent: 'lab-kubelet' } });
await runKubelet(store, values.node, stop.signal);
await store.close();
