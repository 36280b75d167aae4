import type { TunnelState } from './tunnel-driver.ts';

/** Compares what is said of the tunnels with what was said last. */
export type ChangeNotice = (states: readonly TunnelState[]) => void;

/** @param notify called, soon after, when a tunnel came up or went or the reason why one is not up has become another; not for counters */
export function createChangeNotice(notify: () => void): ChangeNotice {
  let before = '';
  return (states) => {
    const now = states.map(({ peer, state, message = '' }) => `${peer} ${state} ${message}`).join('\n');
    if (now !== before) queueMicrotask(notify);
    before = now;
  };
}
