import { Agent, request } from 'node:https';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import type { KeyPair } from '../net/certificate.ts';
import { createCertificateHolder } from './certificate-holder.ts';
import { makeCa, makeServing } from './certificate-set.ts';
import { startWebhookServer } from './server.ts';

const log = pino({ level: 'silent' });
const names = { dnsNames: [], ipAddresses: ['127.0.0.1'] };
const closing: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function rig() {
  const ca = await makeCa(Date.now());
  const certificates = createCertificateHolder();
  const server = await startWebhookServer({ address: '127.0.0.1', port: 0, certificates, log });
  closing.push(() => server.close());
  const agent = new Agent({ keepAlive: true });
  closing.push(() => agent.destroy());
  const open = (through: Agent | false = agent) =>
    request(`https://127.0.0.1:${server.port}/validate`, { method: 'POST', ca: ca.certificate, agent: through });
  /** The status of a review that is none; of a new connection, the serial number of the certificate. */
  async function ask(through: Agent | false = agent): Promise<{ status: number | undefined; reused: boolean; serial: string | undefined }> {
    const sent = open(through);
    sent.end('{}');
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    const serial = (answer.socket as TLSSocket).getPeerX509Certificate()?.serialNumber;
    await answer.resume().toArray();
    return { status: answer.statusCode, reused: sent.reusedSocket, serial };
  }
  return { ca, certificates, server, open, ask };
}

function issue(ca: KeyPair): Promise<KeyPair> {
  return makeServing(ca, names, Date.now());
}

describe('the webhook server', () => {
  it('accepts nobody until there is a certificate', async () => {
    const { ca, certificates, ask } = await rig();
    await expect(ask(false)).rejects.toThrow();
    certificates.set(await issue(ca));
    expect((await ask(false)).status).toBe(400);
  });

  it('shows the newest certificate to new connections and goes on with those that are open', async () => {
    const { ca, certificates, ask } = await rig();
    certificates.set(await issue(ca));
    const first = await ask();
    certificates.set(await issue(ca));
    expect(await ask()).toMatchObject({ status: 400, reused: true });
    const fresh = await ask(false);
    expect(fresh).toMatchObject({ status: 400, reused: false });
    expect(fresh.serial).not.toBe(first.serial);
  });

  it('answers what it has begun to read before it closes, and then does not wait for connections without a request', async () => {
    const { ca, certificates, server, open, ask } = await rig();
    certificates.set(await issue(ca));
    await ask();
    const unused = connect({ host: '127.0.0.1', port: server.port, ca: ca.certificate });
    await once(unused, 'secureConnect');
    const slow = open();
    slow.write('{');
    await once(slow, 'socket');
    // Headers have arrived when a request that was sent later is answered: both are on this machine.
    await ask(false);
    const closed = server.close();
    await expect(ask(false)).rejects.toThrow(/ECONNREFUSED/);
    slow.end('}');
    const [answer] = (await once(slow, 'response')) as [IncomingMessage];
    expect(answer.statusCode).toBe(400);
    answer.resume();
    const startedAt = performance.now();
    await closed;
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    closing.shift();
    unused.destroy();
  });
});
