import { formatReroute } from '../domain/reroute.ts';
import { openCaller, openEcho } from '../drivers/probe/echo.ts';
import { createTrafficMeter } from '../drivers/probe/traffic.ts';
import type { TunnelDriver } from '../drivers/tunnel/tunnel-driver.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { createChoiceFile, loadChoices } from './choice-file.ts';
import { createEchoKeeper, type EchoKeeper } from './echo-keeper.ts';
import { createLookout, type Lookout } from './lookout.ts';
import type { AgentObserver } from './observer.ts';

export interface LookoutOptions {
  /** On the overlay address. */
  readonly overlay: EchoKeeper;
  readonly driver: TunnelDriver;
  readonly runDir: string;
  readonly observer: AgentObserver;
  readonly log: Logger;
}

/** A lookout on this machine's sockets, that goes on with what it chose before a restart. */
export async function openLookout({ overlay, driver, runDir, observer, log }: LookoutOptions): Promise<Lookout> {
  const choices = createChoiceFile(runDir, log);
  const meter = createTrafficMeter();
  return createLookout({
    overlay,
    tunnels: createEchoKeeper(openEcho, log),
    lan: createEchoKeeper(openEcho, log),
    openCaller,
    isBusy: (ownPackets) => meter.isBusy(ownPackets),
    received: async () => new Map((await driver.list()).map(({ peer, bytesIn = 0 }) => [peer, bytesIn])),
    onSilence: (peer) =>
      void driver
        .refreshAddress(peer)
        .catch((error: unknown) => log.debug({ peer, error: messageOf(error) }, 'the peer could not be told our address')),
    kept: await loadChoices(runDir),
    keep: (memory) => choices.save(memory),
    onReroute: (reroute) => {
      log.warn(reroute, formatReroute(reroute));
      observer.rerouted(reroute);
    },
    clock: systemClock,
    log,
  });
}
