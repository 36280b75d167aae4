import { UserError } from '../../lib/errors.ts';
import { type Ip, parseIp } from '../../net/ip.ts';

/** The arguments of a control request, unchecked. */
export type Arguments = Readonly<Record<string, unknown>>;

/** @throws {UserError} when the argument is no address */
export function ipArgument(args: Arguments, name: string): Ip {
  const ip = parseIp(textArgument(args, name));
  return ip ?? wrong(name, 'must be an IP address');
}

/** @throws {UserError} when the argument is no text, or absent without a fallback */
export function textArgument(args: Arguments, name: string, fallback?: string): string {
  const value = args[name] ?? fallback;
  return typeof value === 'string' ? value : wrong(name, 'must be a text');
}

/** A number from `min` to `max`. @throws {UserError} when it is not, or absent without a fallback */
export function numberArgument(args: Arguments, name: string, { min, max, fallback }: NumberRange): number {
  const value = args[name] ?? fallback;
  return typeof value === 'number' && value >= min && value <= max ? value : wrong(name, `must be a number from ${min} to ${max}`);
}

export interface NumberRange {
  readonly min: number;
  readonly max: number;
  readonly fallback?: number;
}

/** One of the words, the first when absent. @throws {UserError} for any other */
export function wordArgument<const W extends string>(args: Arguments, name: string, words: readonly [W, ...W[]]): W {
  const value = args[name] ?? words[0];
  return words.find((word) => word === value) ?? wrong(name, `must be one of ${words.join(', ')}`);
}

/** Some of the words, all when absent. @throws {UserError} for any other */
export function wordsArgument<const W extends string>(args: Arguments, name: string, words: readonly [W, ...W[]]): readonly W[] {
  const value = args[name] ?? words;
  if (!Array.isArray(value)) return wrong(name, 'must be a list');
  return value.map((item: unknown) => words.find((word) => word === item) ?? wrong(name, `must hold only ${words.join(', ')}`));
}

function wrong(path: string, message: string): never {
  throw new UserError([{ path, message }]);
}
