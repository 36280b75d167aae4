import { parseArgs } from 'node:util';
import { runSupervisor } from '../lab/supervisor/run.ts';
import { openStore } from '../store/open-store.ts';

/** Stand-in for Kubernetes' node lifecycle controller in a lab. */
const { values } = parseArgs({ options: { store: { type: 'string' } } });
if (values.store === undefined) {
  process.stderr.write('usage: lab-supervisor --store dir:DIR|kube:FILE\n');
  process.exit(2);
}
const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
const store = await openStore(values.store, { kube: { env: process.env, userAgent: 'lab-supervisor' } });
await runSupervisor(store, stop.signal);
await store.close();
