import { textAt, type ViciMessage } from '../../net/vici.ts';
import { peerOfConnection } from './connection.ts';

/** What charon's log says about why a tunnel is not up. `answered`: the peer was heard, it only said no. */
export interface Reason {
  readonly peer: string;
  readonly text: string | undefined;
  readonly kind: 'calling' | 'silent' | 'refused' | 'cleared';
}

/**
 * charon's words (5.9 and 6.0, level 1) and ours. The first that matches counts. There is no other way to learn these reasons: `initiate` does
 * not wait for the outcome, and `list-sas` shows only what is there.
 */
const PATTERNS: readonly (readonly [RegExp, Reason['kind'], string | undefined])[] = [
  [/^initiating IKE_SA /, 'calling', undefined],
  [/but MAC mismatched/, 'refused', 'authentication failed: the secret differs from that of the peer'],
  [
    /^received AUTHENTICATION_FAILED notify/,
    'refused',
    'authentication failed: the secret differs from that of the peer, or the peer does not expect this node',
  ],
  [/^no shared key found for /, 'refused', 'authentication failed: charon has no secret for this peer'],
  [
    /^received NO_PROPOSAL_CHOSEN notify/,
    'refused',
    'refused by the peer: it does not expect this node yet, or allows other algorithms (NO_PROPOSAL_CHOSEN)',
  ],
  [/^received TS_UNACCEPTABLE notify/, 'refused', 'refused by the peer: its plan has other address ranges (TS_UNACCEPTABLE)'],
  [
    /^(traffic selectors .* unacceptable|no acceptable traffic selectors found)/,
    'refused',
    'the peer asks for address ranges that are not in the plan',
  ],
  [/^unable to install (.* \(\w+\)) in kernel/, 'refused', 'charon could not install it: see its log'],
  [/^retransmit \d+ of request with message ID 0/, 'silent', undefined],
  [/^(giving up after|establishing IKE_SA failed, peer not responding|peer not responding)/, 'silent', undefined],
  [/^IKE_SA .* established between/, 'cleared', undefined],
];

/** Reads a `log` event; undefined when it tells nothing about one of our tunnels. */
export function reasonOf(event: ViciMessage): Reason | undefined {
  const peer = peerOfConnection(textAt(event, 'ikesa-name') ?? '');
  const text = textAt(event, 'msg');
  if (peer === undefined || text === undefined) return undefined;
  const found = PATTERNS.find(([pattern]) => pattern.test(text));
  return found && { peer, kind: found[1], text: found[2] };
}
