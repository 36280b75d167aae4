import type { z } from 'zod';
import { type Problem, UserError } from './errors.ts';

/** Flags of a command as commander gives them, read with a schema whose keys are their camel-case names. @throws {UserError} naming every flag that is wrong */
export function parseFlags<T>(schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new UserError(parsed.error.issues.map(({ path, message }): Problem => ({ source: flagOf(String(path[0])), message })));
}

/** Says what there is instead of what was given; for zod's `error`. */
export function notKnown(list: string): (issue: { readonly input?: unknown }) => string {
  return ({ input }) => `${JSON.stringify(input)} is not known; there is: ${list}`;
}

function flagOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
