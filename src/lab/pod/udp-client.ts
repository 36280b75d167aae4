import { randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { familyOf } from '../../net/ip.ts';
import { networkFault } from './network-fault.ts';
import { parseEcho } from './protocol.ts';
import type { Target } from './tcp-client.ts';

export interface UdpResult {
  readonly ok: boolean;
  readonly sent: number;
  readonly pod: string | undefined;
  readonly sourceIp: string | undefined;
  readonly error: string | undefined;
}

/** How long each try waits for its answer. */
const TRY_MS = 1_000;

/** Sends one datagram, and again up to three times, until the pod answers. Never rejects. */
export function askUdp({ ip, port }: Target, signal: AbortSignal, tries = 3): Promise<UdpResult> {
  const token = randomUUID();
  const socket = createSocket(familyOf(ip) === 6 ? 'udp6' : 'udp4');
  return new Promise((resolve) => {
    let sent = 0;
    let lastError: string | undefined;

    function finish(result: Omit<UdpResult, 'sent'>): void {
      clearInterval(timer);
      signal.removeEventListener('abort', giveUp);
      socket.close();
      resolve({ sent, ...result });
    }
    function giveUp(): void {
      finish({ ok: false, pod: undefined, sourceIp: undefined, error: lastError ?? 'no answer' });
    }
    function send(): void {
      if (sent >= tries) return giveUp();
      sent += 1;
      socket.send(token, port, ip, (error) => (lastError = error === null ? lastError : networkFault(error)));
    }

    socket.on('error', (error) => (lastError = networkFault(error)));
    socket.on('message', (message) => {
      const echo = parseEcho(message.toString('utf8'));
      if (echo?.echo === token) finish({ ok: true, pod: echo.pod, sourceIp: echo.sourceIp, error: undefined });
    });
    const timer = setInterval(send, TRY_MS);
    signal.addEventListener('abort', giveUp);
    if (signal.aborted) giveUp();
    else send();
  });
}
