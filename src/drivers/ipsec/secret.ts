import { createHmac } from 'node:crypto';
import type { ViciMessage } from '../../net/vici.ts';

interface SecretCommand {
  readonly command: 'load-shared' | 'unload-shared';
  readonly message: ViciMessage;
}

const PREFIX = 'raven-psk-';

/**
 * What makes charon's shared secrets, known by their ids, equal to `psk`: nothing when they are. The new one comes before the old one goes.
 * charon tells ids, never secrets, so the id has to say which secret it is.
 */
export function secretActions(ids: readonly string[], psk: string): SecretCommand[] {
  const id = secretId(psk);
  const load: SecretCommand = { command: 'load-shared', message: { id, type: 'IKE', data: psk, owners: [] } };
  const unload = ids
    .filter((each) => each.startsWith(PREFIX) && each !== id)
    .map((each): SecretCommand => ({ command: 'unload-shared', message: { id: each } }));
  return [...(ids.includes(id) ? [] : [load]), ...unload];
}

/** 32 bits of a keyed hash: enough to tell two secrets apart, far too little to find one that `checkPsk` let through. */
function secretId(psk: string): string {
  return PREFIX + createHmac('sha256', psk).update('raven vici secret id').digest('hex').slice(0, 8);
}
