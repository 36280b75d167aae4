import { readFileSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import { installCrds, startApiServer, whyNoApiServer } from './api-server.ts';

/** What the tests of this folder know of the API server that they share. */
export interface KubeContext {
  /** Why there is none; the tests are skipped then. */
  readonly missing: string | undefined;
  readonly url: string;
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  readonly dir: string;
  /** PEM of its CA. */
  readonly ca: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    readonly kube: KubeContext;
  }
}

/** Starts one API server for all files of the folder; ends it when they are through. */
export default async function setUp(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const missing = whyNoApiServer();
  if (missing !== undefined) {
    process.stdout.write(`skipped: ${missing}\n`);
    project.provide('kube', { missing, url: '', kubeconfig: '', dir: '', ca: '' });
    return undefined;
  }
  const server = await startApiServer();
  const { url, adminKubeconfig, dir, caFile } = server;
  await installCrds(adminKubeconfig);
  project.provide('kube', { missing: undefined, url, kubeconfig: adminKubeconfig, dir, ca: readFileSync(caFile, 'utf8') });
  return () => server.stop();
}
