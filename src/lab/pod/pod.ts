import { listenControl } from './control.ts';
import { serveDns } from './dns-server.ts';
import { createOperations } from './operations.ts';
import { serveProbes } from './servers.ts';

export interface PodOptions {
  readonly name: string;
  /** Path of the control socket. */
  readonly socket: string;
  /** Also be a DNS server for the names of this file. */
  readonly dnsZone: string | undefined;
}

export interface Pod {
  /** Stops all servers and removes the control socket. */
  stop(): Promise<void>;
}

/** Starts the program of one pod. Its control socket appears last: who finds it finds all servers listening. */
export async function startPod({ name, socket, dnsZone }: PodOptions): Promise<Pod> {
  const listeners = await Promise.all([serveProbes(name), ...(dnsZone === undefined ? [] : [serveDns(dnsZone)])]);
  const control = await listenControl(socket, createOperations(name));
  return {
    async stop() {
      for (const listener of listeners) listener.close();
      await control.close();
    },
  };
}
