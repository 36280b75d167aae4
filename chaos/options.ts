import { parseArgs } from 'node:util';
import { messageOf, UserError } from '../src/lib/errors.ts';
import type { Fault } from './fault.ts';
import { FAULTS } from './faults/faults.ts';
import { type Driver, DRIVERS, type Store, STORES } from './rig.ts';

export interface Options {
  readonly drivers: readonly Driver[];
  readonly stores: readonly Store[];
  /** Of each fault. */
  readonly rounds: number;
  readonly faults: readonly Fault[];
  /** Random faults for so long, instead of each in its turn. */
  readonly soakSeconds: number | undefined;
  /** Chooses the soak's faults. */
  readonly seed: number;
  /** How long the API is away. */
  readonly cutSeconds: number;
  readonly output: 'text' | 'json';
  readonly list: boolean;
  readonly help: boolean;
}

/** Pods carry on a measurement for an hour. */
const MAX_SECONDS = 3_000;
const DEFAULT_SOAK_SECONDS = 600;
const DEFAULT_CUT_SECONDS = 20;

export const USAGE = `chaos: harm to the rig, and what it costs others

  --driver ipsec|wireguard|both   both unless said
  --store dir|kube|both           dir unless said; kube needs scripts/setup.sh kube
  --fault NAME                    only this one; may be repeated
  --rounds N                      of each fault; 1 unless said
  --cut SECONDS                   how long the API is away; ${DEFAULT_CUT_SECONDS} unless said
  --soak [SECONDS]                random faults, some at a time, instead of each in its turn; ${DEFAULT_SOAK_SECONDS} unless said
  --seed N                        another choice of them; 1 unless said
  -o text|json
  --list                          the faults
`;

/** @throws {UserError} naming the option */
export function parseOptions(args: readonly string[]): Options {
  const { driver, store, fault, rounds, cut, soak, seed, output, list, help } = parse(args);
  return {
    drivers: words('--driver', driver, DRIVERS),
    stores: words('--store', store, STORES),
    rounds: count('--rounds', rounds, { min: 1, max: 1_000 }),
    faults: fault.length === 0 ? FAULTS : chosenFaults(fault),
    soakSeconds: soak === undefined ? undefined : count('--soak', soak, { min: 1, max: MAX_SECONDS }),
    seed: count('--seed', seed, { min: 0, max: 0xff_ff_ff_ff }),
    cutSeconds: count('--cut', cut, { min: 1, max: MAX_SECONDS }),
    output: output === 'text' || output === 'json' ? output : wrong('-o', `must be text or json, not ${JSON.stringify(output)}`),
    list,
    help,
  };
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: args.flatMap((arg, i) => (arg === '--soak' && isOption(args[i + 1]) ? [`--soak=${DEFAULT_SOAK_SECONDS}`] : [arg])),
      options: {
        driver: { ...text, default: 'both' },
        store: { ...text, default: 'dir' },
        fault: { ...text, multiple: true, default: [] },
        rounds: { ...text, default: '1' },
        cut: { ...text, default: String(DEFAULT_CUT_SECONDS) },
        soak: text,
        seed: { ...text, default: '1' },
        output: { ...text, short: 'o', default: 'text' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    throw new UserError(`${messageOf(error)}\n\n${USAGE}`, { cause: error });
  }
}

function isOption(arg: string | undefined): boolean {
  return arg === undefined || arg.startsWith('-');
}

function words<const W extends string>(source: string, value: string, known: readonly W[]): readonly W[] {
  if (value === 'both') return known;
  const found = known.filter((word) => word === value);
  return found.length > 0 ? found : wrong(source, `must be ${known.join(', ')} or both, not ${JSON.stringify(value)}`);
}

function count(source: string, text: string, { min, max }: { readonly min: number; readonly max: number }): number {
  const number = Number(text);
  const fits = text.trim() !== '' && Number.isInteger(number) && number >= min && number <= max;
  return fits ? number : wrong(source, `must be a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`);
}

function chosenFaults(names: readonly string[]): Fault[] {
  const unknown = names.filter((name) => FAULTS.every((fault) => fault.name !== name));
  if (unknown.length > 0) wrong('--fault', `there is no ${unknown.join(', ')}; there are: ${FAULTS.map(({ name }) => name).join(', ')}`);
  return FAULTS.filter(({ name }) => names.includes(name));
}

function wrong(source: string, message: string): never {
  throw new UserError([{ source, message }]);
}
