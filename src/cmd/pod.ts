import { parseArgs } from 'node:util';
import { messageOf, UserError } from '../lib/errors.ts';
import { createOperations, refusalOf } from '../lab/pod/operations.ts';
import { startPod } from '../lab/pod/pod.ts';
import { parseObject } from '../lab/pod/protocol.ts';

const USAGE = `usage: pod --name NAME --socket PATH [--dns-zone FILE]   be a pod, until SIGTERM
       pod --client '{"op":"connect","args":{…}}'        do one operation from here, print {"result":…} or {"error":…}`;

try {
  const { values } = parseArgs({
    options: { name: { type: 'string' }, socket: { type: 'string' }, 'dns-zone': { type: 'string' }, client: { type: 'string' } },
  });
  if (values.client !== undefined) await askOnce(values.client);
  else if (values.name !== undefined && values.socket !== undefined) await serve(values.name, values.socket, values['dns-zone']);
  else throw new UserError(USAGE);
} catch (error) {
  console.error(messageOf(error));
  process.exit(error instanceof UserError || isUsageError(error) ? 2 : 1);
}

async function serve(name: string, socket: string, dnsZone: string | undefined): Promise<void> {
  const pod = await startPod({ name, socket, dnsZone });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void pod.stop().finally(() => process.exit(0)));
}

async function askOnce(text: string): Promise<void> {
  const { op, args = {} } = parseObject(text) ?? {};
  const operation = typeof op === 'string' ? createOperations('client').get(op) : undefined;
  if (operation === undefined || typeof args !== 'object' || args === null) throw new UserError(USAGE);
  const answer = await operation({ ...args }, new AbortController().signal).then(
    (result) => ({ result }),
    (error: unknown) => ({ error: refusalOf(error) }),
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
}

function isUsageError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}
