import type { Exec } from '../exec/exec.ts';
import { poll } from '../tunnel/process.ts';
import { answers, type WireguardGo } from './wireguard-go.ts';
import { openWireguardExchange } from './wireguard-exchange.ts';

/** Not so long that a node without its other container looks dead: the caller comes again. */
const START_TIMEOUT_MS = 10_000;
/** `raven charon` gives it 5 s to end in order, then kills it. */
const STOP_TIMEOUT_MS = 8_000;
/** While packets wait. */
const LOOK_EVERY_MS = 20;

/** A wireguard-go that `raven charon` runs elsewhere: asked for, and never started or ended from here. */
export function createExternalWireguardGo({ exec, runDir }: { readonly exec: Exec; readonly runDir: string }): WireguardGo {
  const exchange = openWireguardExchange(runDir);
  let seen: string | undefined;

  return {
    async ensure() {
      if ((await exchange.wanted.read()) === undefined) await exchange.wanted.write({});
      const instance = await poll(
        async () => {
          const running = await exchange.running.read();
          // One that was seen to answer says so itself when it ends.
          return running !== undefined && (running.instance === seen || (await answers(exec))) ? running.instance : undefined;
        },
        START_TIMEOUT_MS,
        LOOK_EVERY_MS,
      );
      if (instance !== undefined) {
        const fresh = instance !== seen;
        seen = instance;
        return { id: undefined, fresh };
      }
      const stuck = await exchange.running.read();
      if (stuck !== undefined) await exchange.wanted.write({ replace: stuck.instance });
      throw new Error(`no wireguard-go answers; is \`raven charon --run-dir ${runDir}\` running, and what does it say?`);
    },

    async stop() {
      const running = await exchange.running.read();
      await exchange.wanted.remove();
      seen = undefined;
      if (running === undefined) return;
      await poll(
        async () => ((await exchange.running.read())?.instance === running.instance && (await answers(exec)) ? undefined : true),
        STOP_TIMEOUT_MS,
      );
    },
  };
}
